/**
 * Frames of all kinds from an agent, through the whole proxy, to an origin that is node:http2: no request is whole there that
 * was not whole here, and none is another one. OUTCALL_FUZZ_MS lengthens it.
 */
import http2 from 'node:http2';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { startRawH2Scene } from '../flow/h2-scene.ts';
import { FRAME, type H2Wire } from '../kit/h2-wire.ts';
import { memorySockets } from '../kit/memory-socket.ts';
import type { RawPeer } from '../kit/raw-origin.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';
import { clientScripts, type Script } from './h2-frames.ts';
import { gather, type Message, type Outcome, ourServer } from './h2-peers.ts';

it(
  'what an agent sends in any frames is whole at its origin only where it was sent whole, and is the same there',
  async () => {
    const origins: Promise<readonly Message[]>[] = [];
    await using scene = await startRawH2Scene({}, (peer) => void origins.push(serve(peer)));
    let count = 0;
    await fc.assert(
      fc.asyncProperty(clientScripts({ others: 10, changes: 1 }), async (script) => {
        // Unanswered, so that what comes for a stream that has ended ends no more than the stream.
        const sent = await ourServer(script, [], () => undefined);
        const from = origins.length;
        await using wire = await scene.openWire();
        await wire.send(script.bytes).catch(() => undefined);
        await settled(wire, script, sent);
        await wire[Symbol.asyncDispose]();
        const came = (await Promise.all(origins.slice(from))).flat();
        count += came.length;
        const left = [...sent.whole.values()].map(keyOf);
        for (const key of came.map(keyOf)) {
          expect(left).toContain(key);
          left.splice(left.indexOf(key), 1);
        }
      }),
      fuzzBudget(),
    );
    expect(count).toBeGreaterThan(0);
  },
  FUZZ_TIMEOUT_MS,
);

/** Answers each request that is whole; gives them all once the connection has closed. */
async function serve(peer: RawPeer): Promise<readonly Message[]> {
  const whole = new Map<number, Message>();
  const [near, far] = memorySockets();
  near.on('data', (chunk: Buffer) => peer.socket.write(chunk));
  near.on('error', () => undefined);
  peer.socket.on('data', (chunk: Buffer) => near.write(chunk));
  const session = http2.performServerHandshake(far as never, { strictSingleValueFields: false });
  session.on('error', () => undefined);
  session.on('stream', (stream: http2.ServerHttp2Stream, _headers, _flags, raw?: string[]) => {
    stream.on('error', () => undefined);
    gather(stream, raw ?? [], whole, () => stream.respond({ ':status': 200 }, { endStream: true }));
  });
  await peer.ending;
  session.destroy();
  return [...whole.values()];
}

/** Resolves once each request that is whole has been answered, or the connection has come to its end. */
async function settled(wire: H2Wire, script: Script, sent: Outcome): Promise<void> {
  const ended = [wire.socket.ending, wire.frames.some(({ type }) => type === FRAME.goaway)];
  const ids = [...sent.whole.keys()].filter((id) => !script.resets.has(id));
  const answers = ids.map((id) =>
    wire.frames.some(({ type, stream }) => stream === id && (type === FRAME.headers || type === FRAME.rst)),
  );
  await Promise.race([...ended, Promise.all(answers)]);
}

/** What must be the same on both sides; the authority is written anew. */
function keyOf({ list, body, trailers }: Message): string {
  const fields = list.flatMap((name, i) => (i % 2 === 0 && name !== ':authority' ? [`${name}: ${list[i + 1]}`] : []));
  return JSON.stringify([fields, body, trailers]);
}
