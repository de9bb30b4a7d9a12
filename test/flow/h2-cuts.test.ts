/**
 * Connections that end at any point: whatever was sent so far, and whichever side ends it how, nothing throws, nothing stays
 * open, each request has one record, and what was cut off looks whole to nobody.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CODE, dataFrame, H2Wire, headersFrame, rstFrame } from '../kit/h2-wire.ts';
import { rulesFile } from '../kit/rules.ts';
import { nextTurn } from '../kit/within.ts';
import { fieldsOf, type H2Scene, startH2Scene, startRawH2Scene } from './h2-scene.ts';
import { INTERCEPT_API, interceptRule } from './intercept-scene.ts';

const RUNS = 60;
const HELD = rulesFile(
  interceptRule('held', 'http.host == "api.test" && http.body.contains("a")', ', match_body: true'),
);

async function untilQuiet(scene: H2Scene<unknown>): Promise<void> {
  for (let i = 0; scene.proxy.server.openFlows > 0; i++) {
    if (i === 100_000) throw new Error(`${scene.proxy.server.openFlows} flows stay open`);
    await nextTurn();
  }
}

describe.each([
  ['decided by its head', INTERCEPT_API],
  ['decided by its body', HELD],
])('an agent that goes in the middle of a request %s', (_, rules) => {
  const blocked = headersFrame(3, fieldsOf('POST', '/a/../b'), { endStream: false });
  const script = Buffer.concat([
    headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false }),
    dataFrame(1, 'aaaa'),
    blocked,
    dataFrame(3, 'bbbb', true),
    dataFrame(1, 'aaaa'),
    headersFrame(5, fieldsOf('GET', '/sse')),
    headersFrame(1, [['x-sum', '8']]),
    headersFrame(7, fieldsOf('POST', '/live'), { endStream: false }),
    rstFrame(7, CODE.none),
  ]);

  it('leaves nothing behind, and the origin no request that looks whole', async () => {
    await using scene = await startH2Scene({ rules });
    const ends = fc.constantFrom('FIN', 'RST', 'destroy');
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: script.length }), ends, fc.boolean(), async (cut, how, wait) => {
        const before = scene.origin.requests.count;
        const wire = await scene.openWire();
        await wire.send(script.subarray(0, cut));
        if (wait) await nextTurn();
        if (how === 'FIN') wire.socket.finish();
        else if (how === 'destroy') wire.socket.socket.destroy();
        else tcpOf(wire).resetAndDestroy();
        await wire.socket[Symbol.asyncDispose]();
        await untilQuiet(scene);
        const whole = scene.origin.requests.all.slice(before).filter(({ method }) => method === 'POST');
        for (const { bodyBytes, trailers } of whole) expect([bodyBytes, trailers]).toEqual([8, ['x-sum', '8']]);
      }),
      { numRuns: RUNS },
    );
    await scene.origin.closed.atLeast(scene.origin.connections);
    const perFlow = Map.groupBy(scene.proxy.records.all, ({ flow, method, path }) => `${flow} ${method} ${path}`);
    for (const records of perFlow.values()) expect(records).toHaveLength(1);
  });
});

describe('an origin that goes in the middle of a response', () => {
  const frames = [
    headersFrame(1, [[':status', '103']], { endStream: false }),
    headersFrame(1, [[':status', '200']], { endStream: false }),
    dataFrame(1, 'aaaa'),
    dataFrame(1, 'bbbb'),
    headersFrame(1, [['x-sum', '8']]),
  ];
  const script = Buffer.concat(frames);
  const edges = frames.map((_, i) => Buffer.concat(frames.slice(0, i + 1)).length);
  const anywhere = fc.record({ cut: fc.nat(script.length), how: fc.constantFrom('FIN', 'RST') });
  // A frame that resets the stream can only come after whole frames.
  const between = fc.record({ cut: fc.constantFrom(0, ...edges), how: fc.constantFrom('internal', 'none') });

  it('gives an answer of ours or a reset, and the end of a response only after all of it', async () => {
    await using scene = await startRawH2Scene();
    await fc.assert(
      fc.asyncProperty(fc.oneof(anywhere, between), async ({ cut, how }) => {
        // Only the first connection dials before it is asked something.
        const opening = scene.openWire().then(async (agent) => {
          await agent.send(headersFrame(1, fieldsOf('GET', '/')));
          return agent;
        });
        const origin = await new H2Wire(await scene.origin.peers.next()).startServer();
        await using wire = await opening;
        const { stream } = await origin.next('headers');
        expect(stream).toBe(1);
        await origin.send(script.subarray(0, cut));
        if (how === 'FIN') origin.socket.finish();
        else if (how === 'RST') origin.socket.reset();
        else await origin.send(rstFrame(1, how === 'none' ? CODE.none : CODE.internal));
        const { verdict, status } = await scene.proxy.nextRecord();
        if (verdict === 'allow') expect(cut).toBe(script.length);
        else if (status === 502) await wire.next('data', 1);
        else {
          expect(await wire.nextCode('rst', 1)).not.toBe(CODE.none);
          expect(wire.ended(1)).toBe(false);
        }
        await origin.socket[Symbol.asyncDispose]();
      }),
      { numRuns: RUNS },
    );
    await untilQuiet(scene);
  });
});

/** The TCP socket under a client's TLS. */
function tcpOf(wire: H2Wire): { resetAndDestroy(): void } {
  return (wire.socket.socket as unknown as { _parent: { resetAndDestroy(): void } })._parent;
}
