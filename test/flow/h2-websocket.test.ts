/**
 * WebSocket over HTTP/2 (RFC 8441; S011-EC-007, threat 12): offered to the agent where the origin offers it, decided as the
 * GET with Upgrade that it is over HTTP/1.1, and a raw relay only after rule and origin have both said yes.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { H2Agent } from '../kit/agent.ts';
import { CODE, dataFrame, type Fields, headersFrame } from '../kit/h2-wire.ts';
import { rulesFile } from '../kit/rules.ts';
import { fieldsOf, pingOf, startH2Scene } from './h2-scene.ts';
import { interceptRule } from './intercept-scene.ts';

const origin = { connectProtocol: true };
const extended = (path: string, protocol = 'websocket', more: Fields = []): Fields => [
  [':method', 'CONNECT'],
  [':protocol', protocol],
  ...fieldsOf('', path, [['sec-websocket-version', '13'], ...more]).slice(1),
];

/** Whether the agent was offered extended CONNECT. */
async function offered(agent: H2Agent): Promise<boolean> {
  await pingOf(agent);
  return agent.session.remoteSettings.enableConnectProtocol === true;
}

describe('WebSocket over HTTP/2', () => {
  it('S011-EC-007: is relayed in both directions, message by message', async () => {
    await using scene = await startH2Scene({ origin });
    await using agent = await scene.open();
    expect(await offered(agent)).toBe(true);
    const headers = {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/ws',
      'sec-websocket-protocol': 'chat',
    };
    const stream = agent.session.request(headers);
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(answer[':status']).toBe(200);
    for (const text of ['one', 'two', 'three']) {
      stream.write(text);
      expect(String((await once(stream, 'data'))[0])).toBe(text);
    }
    const head = await scene.origin.heads.next();
    expect([head.method, head.header(':protocol'), head.header('sec-websocket-protocol')]).toEqual([
      'CONNECT',
      ['websocket'],
      ['chat'],
    ]);
    expect([head.header('upgrade'), head.header('connection')]).toEqual([[], []]);
    stream.end();
    await once(stream.resume(), 'close');
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'allow',
      path: '/ws',
      bytes_up: 11,
      bytes_down: 11,
    });
  });

  it('is seen by rules as GET with upgrade: websocket, and a path that they do not allow opens nothing', async () => {
    const upgrade = '"upgrade" in http.headers && http.headers["upgrade"] == "websocket"';
    const condition = `http.host == "api.test" && http.method == "GET" && http.path == "/ws" && ${upgrade}`;
    await using scene = await startH2Scene({ origin, rules: rulesFile(interceptRule('ws', condition)) });
    await using agent = await scene.open();
    await offered(agent);
    const open = async (path: string, more = {}) => {
      const stream = agent.session.request({ ':path': path, ...more });
      stream.on('error', () => undefined);
      const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
      stream.close(CODE.cancel);
      return answer[':status'];
    };
    const socket = { ':method': 'CONNECT', ':protocol': 'websocket' };
    expect([await open('/other', socket), await open('/ws')]).toEqual([403, 403]);
    expect(scene.origin.heads.count).toBe(0);
    expect(await open('/ws', socket)).toBe(200);
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'block',
      method: 'GET',
      path: '/other',
      status: 403,
    });
  });

  it('is not offered where the origin does not offer it, and opens no stream', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    expect(await offered(agent)).toBe(false);
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, extended('/ws'), { endStream: false }), dataFrame(1, 'raw'));
    expect(await wire.nextCode('rst', 1)).toBe(CODE.protocol);
    await wire.send(headersFrame(3, fieldsOf('GET', '/good')));
    await wire.next('headers', 3);
    expect(scene.origin.heads.all.map(({ url }) => url)).toEqual(['/good']);
  });

  it('is offered on a second connection too, for which no session was made beforehand', async () => {
    await using scene = await startH2Scene({ origin });
    await using first = await scene.open();
    expect(await offered(first)).toBe(true);
    await using second = await scene.open();
    expect(await offered(second)).toBe(true);
    expect(scene.origin.connections).toBe(1);
    const stream = second.session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws' });
    stream.write('hello');
    expect(String((await once(stream, 'data'))[0])).toBe('hello');
    expect(scene.origin.connections).toBe(2);
  });

  it.each([
    ['another protocol', extended('/ws', 'connect-udp')],
    ['a method other than CONNECT', [[':protocol', 'websocket'] as const, ...fieldsOf('GET', '/ws')]],
  ])('with %s is refused, whatever the rules say', async (_, fields) => {
    await using scene = await startH2Scene({ origin });
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fields, { endStream: false }));
    await wire.frames.next(({ stream, type }) => stream === 1 && (type === 1 || type === 3));
    await wire.send(headersFrame(3, extended('/ws'), { endStream: false }));
    await wire.next('headers', 3);
    expect(scene.origin.heads.all.map((head) => head.header(':protocol'))).toEqual([['websocket']]);
  });
});
