/**
 * Floods over HTTP/2 (threat 37): rapid reset, CONTINUATION without end, huge header sections, SETTINGS and PING. The
 * connection that floods is ended or bounded; every other one, of the same and of other agents, keeps its service.
 */
import { describe, expect, it } from 'vitest';
import {
  CODE,
  continuationFrame,
  dataFrame,
  type Fields,
  frame,
  type H2Wire,
  headersFrame,
  rstFrame,
} from '../kit/h2-wire.ts';
import type { Origin } from '../kit/origin.ts';
import { fieldsOf, type H2Scene, startH2Scene } from './h2-scene.ts';

/** What a flood of some MiB may leave behind, with our own frames of it in the same process. */
const MAX_GROWTH_BYTES = 150 * 1024 * 1024;

/** Sends a flood for as long as the connection takes it. */
async function flood(wire: H2Wire, parts: Iterable<Buffer>): Promise<void> {
  for (const part of parts) {
    if (wire.socket.ended !== undefined) return;
    await wire.send(part).catch(() => undefined);
  }
}

/** While the flood runs another agent is served, and afterwards the same agent is; memory stays bounded. */
async function survives(scene: H2Scene<Origin>, parts: Iterable<Buffer>): Promise<H2Wire> {
  const before = process.memoryUsage().rss;
  await using other = await scene.open({ localAddress: '127.0.0.9' });
  expect((await other.request({ ':path': '/other' })).status).toBe(200);
  const wire = await scene.openWire();
  const flooding = flood(wire, parts);
  for (let i = 0; i < 20; i++) expect((await other.request({ ':path': '/other' })).status).toBe(200);
  await flooding;
  await using again = await scene.open();
  expect((await again.request({ ':path': '/again' })).status).toBe(200);
  expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
  return wire;
}

const evil = (scene: H2Scene<Origin>): number => scene.origin.heads.all.filter(({ url }) => url === '/evil').length;

describe('a flood', () => {
  it('of 4,000 streams that are reset at once ends its connection, and the origin sees a fraction', async () => {
    await using scene = await startH2Scene();
    function* resets(): Generator<Buffer> {
      for (let stream = 1; stream < 8_000; stream += 2)
        yield Buffer.concat([headersFrame(stream, fieldsOf('GET', '/evil')), rstFrame(stream, CODE.cancel)]);
    }
    await using wire = await survives(scene, resets());
    await wire.socket.untilEnded();
    expect(evil(scene)).toBeLessThan(2_000);
    await scene.proxy.nextRecord(({ path, reason }) => path === '/evil' && reason === 'client_closed');
  });

  it('of refused streams that are reset at once ends its connection, and the origin sees none', async () => {
    await using scene = await startH2Scene();
    function* resets(): Generator<Buffer> {
      for (let stream = 1; stream < 8_000; stream += 2) {
        const fields = fieldsOf('POST', '/a/../evil');
        yield Buffer.concat([headersFrame(stream, fields, { endStream: false }), rstFrame(stream, CODE.none)]);
      }
    }
    await using wire = await survives(scene, resets());
    await wire.socket.untilEnded();
    expect(evil(scene)).toBe(0);
  });

  it('of CONTINUATION frames without end ends its connection, and opens no stream', async () => {
    await using scene = await startH2Scene();
    function* continuations(): Generator<Buffer> {
      yield headersFrame(1, fieldsOf('GET', '/evil'), { endHeaders: false });
      for (let i = 0; i < 5_000; i++) yield continuationFrame(1, [[`x-${i}`, 'x'.repeat(1_000)]], false);
    }
    await using wire = await survives(scene, continuations());
    await wire.socket.untilEnded();
    expect(evil(scene)).toBe(0);
    expect(await scene.proxy.nextRecord(({ event }) => event === 'flow')).toMatchObject({
      reason: 'bad_request',
      detail: expect.any(String),
    });
  });

  it('of empty CONTINUATION frames ends its connection, and opens no stream', async () => {
    await using scene = await startH2Scene();
    function* continuations(): Generator<Buffer> {
      yield headersFrame(1, fieldsOf('GET', '/evil'), { endHeaders: false });
      for (let i = 0; i < 20_000; i++) yield frame('continuation', 0, 1);
    }
    await using wire = await survives(scene, continuations());
    await wire.socket.untilEnded();
    expect(evil(scene)).toBe(0);
    expect(await scene.proxy.nextRecord(({ event }) => event === 'flow')).toMatchObject({
      reason: 'bad_request',
      detail: expect.any(String),
    });
  });

  it.each([
    ['SETTINGS', frame('settings', 0, 0)],
    ['PING', frame('ping', 0, 0, Buffer.alloc(8))],
  ])('of %s that nobody reads the answers to is ended or bounded', async (_, one) => {
    await using scene = await startH2Scene();
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => one));
    const wire = await survives(
      scene,
      Array.from({ length: 100 }, () => many),
    );
    await wire[Symbol.asyncDispose]();
  });

  it('of empty DATA frames is ended or bounded', async () => {
    await using scene = await startH2Scene();
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => dataFrame(1, '')));
    function* parts(): Generator<Buffer> {
      yield headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false });
      for (let i = 0; i < 50; i++) yield many;
    }
    const wire = await survives(scene, parts());
    await wire[Symbol.asyncDispose]();
    await scene.proxy.nextRecord(({ path, verdict }) => path === '/echo' && verdict === 'failed');
    expect(scene.origin.requests.all.some(({ url }) => url === '/echo')).toBe(false);
  });
});

describe('a header section', () => {
  it.each([
    ['of 200 KB', Array.from({ length: 20 }, (_, i): readonly [string, string] => [`x-${i}`, 'x'.repeat(10_000)])],
    ['of 400 fields', Array.from({ length: 400 }, (_, i): readonly [string, string] => [`x-${i}`, ''])],
  ])('%s opens no stream at the origin, and one within the limits does', async (_, more: Fields) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    const continued = more.flatMap((field, i) => continuationFrame(1, [field], i === more.length - 1));
    await wire.send(headersFrame(1, fieldsOf('GET', '/evil'), { endHeaders: false }), ...continued);
    await Promise.race([wire.frames.next(({ type }) => type === 3 || type === 7), wire.socket.untilEnded()]);
    await using other = await scene.openWire();
    await other.send(headersFrame(1, fieldsOf('GET', '/good', more.slice(0, 1))));
    await other.next('headers', 1);
    expect(scene.origin.heads.all.map(({ url }) => url)).toEqual(['/good']);
  });

  it('of 300 fields in one frame is refused on its stream with 431, and the next stream is served', async () => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    const many = Array.from({ length: 300 }, (_, i): readonly [string, string] => [`x-${i}`, '']);
    await wire.send(headersFrame(1, fieldsOf('GET', '/evil', many)));
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'header_too_large', status: 431 });
    await wire.next('headers', 1);
    await wire.send(headersFrame(3, fieldsOf('GET', '/good', many.slice(0, 200))));
    await wire.next('headers', 3);
    expect(scene.origin.heads.all.map(({ url }) => url)).toEqual(['/good']);
  });
});
