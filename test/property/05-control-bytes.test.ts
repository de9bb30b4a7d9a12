/**
 * Property 5: a host with control bytes in it is refused wherever it is written, reaches neither resolver nor origin, and
 * stands in the record as printable text on one line.
 */
import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/domain/record.ts';
import { startInterceptScene } from '../flow/intercept-scene.ts';
import { NOTHING_WENT_OUT, startScene, untouched } from '../flow/scene.ts';
import { openAgent, openTunnel } from '../kit/agent.ts';
import { clientHello } from '../kit/client-hello.ts';
import { rulesFile } from '../kit/rules.ts';

const ALLOW_ALL = rulesFile("{ id: all, condition: 'true', action: allow }");
/** Content types of TLS records (RFC 8446 section 5.1). */
const ALERT_RECORD = 0x15;
const HANDSHAKE_RECORD = 0x16;

const HOSTS: readonly (readonly [string, string])[] = [
  ['a NUL', 'plain.test\0.other.test'],
  ['an encoded NUL', 'plain.test%00.other.test'],
  ['CR LF', 'plain.test\r\n.other.test'],
  ['encoded CR LF', 'plain.test%0d%0a.other.test'],
  ['LF', 'plain.test\n.other.test'],
  ['ESC', 'plain.test\x1b[2J'],
  ['DEL', 'plain.test\x7f'],
  ['a tab', 'plain.test\t.other.test'],
  ['a byte above ASCII', 'plain.test\xe9'],
];

/** Malformed, or not the host that the target names. */
const STATUSES = [400, 421];

/** Nothing in any field that a terminal or a line-wise reader would take for more than text. */
function isPrintable(record: AuditRecord): boolean {
  return Object.values(record).every((value) => typeof value !== 'string' || /^[\x20-\x7e]*$/.test(value));
}

describe.each([
  ['a CONNECT', (host: string, port: number) => `CONNECT ${host}:${port} HTTP/1.1\r\nHost: plain.test`],
  ['an absolute form', (host: string, port: number) => `GET http://${host}:${port}/ HTTP/1.1\r\nHost: plain.test`],
  ['a Host field', (host: string, port: number) => `GET http://plain.test:${port}/ HTTP/1.1\r\nHost: ${host}:${port}`],
])('in %s', (door, headOf) => {
  // CR LF ends a field: what follows it is no part of that host.
  const hosts = HOSTS.filter(([name]) => door !== 'a Host field' || name !== 'CR LF');

  it.each(hosts)('%s in the host is refused, escaped in the record, and nothing goes out', async (_name, host) => {
    await using scene = await startScene({ rules: ALLOW_ALL });
    await using agent = await openAgent(scene.proxy);
    await agent.send(`${headOf(host, scene.plain.port)}\r\n\r\n`);
    expect(STATUSES).toContain((await agent.readReply()).status);
    await agent.untilEnded();
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    const record = await scene.proxy.nextRecord();
    expect([record.verdict, record.upstream, isPrintable(record)]).toEqual(['failed', null, true]);
    await using twin = await openAgent(scene.proxy);
    const good = `GET ${scene.plainUrl}/ HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`;
    await twin.send(good);
    expect((await twin.readReply()).status).toBe(200);
  });
});

describe('in a TLS server name', () => {
  it.each([
    ['a NUL', 0],
    ['LF', 10],
    ['ESC', 27],
    ['a byte above ASCII', 0xe9],
  ])('%s is refused by an alert, escaped in the record, and the origin sees no connection', async (_, byte) => {
    await using scene = await startInterceptScene();
    const hello = await clientHello({ servername: 'api.testQ.other.test' });
    const at = hello.indexOf('api.testQ') + 'api.test'.length;
    hello[at] = byte;
    await using agent = await openTunnel(scene.proxy, scene.api);
    await agent.send(hello);
    expect((await agent.readExactly(1))[0]).toBe(ALERT_RECORD);
    const record = await scene.proxy.nextRecord();
    expect(record).toMatchObject({ verdict: 'failed', reason: 'sni_mismatch', host: 'api.test' });
    expect(isPrintable(record)).toBe(true);
    expect([scene.origin.connections, scene.proxy.signer?.minted.count]).toEqual([0, 0]);
    await using twin = await openTunnel(scene.proxy, scene.api);
    await twin.send(await clientHello({ servername: 'api.test' }));
    expect((await twin.readExactly(1))[0]).toBe(HANDSHAKE_RECORD);
  });
});
