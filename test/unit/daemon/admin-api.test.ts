import http from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ADMIN_PATHS } from '../../../src/domain/admin-api.ts';
import { startDaemon, type TestDaemon } from '../../kit/daemon.ts';

const RULES = `version: "1"
rules:
  - id: api
    condition: http.host == "api.example.com"
    action: allow
`;
const AGENT = { id: 'a'.repeat(64), name: 'web', image: 'debian', labels: { team: 'x' }, ip: '10.203.0.20' };

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly value: unknown;
}

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, { schema?: object }>> }>>;
}

let daemon: TestDaemon;
let document: {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: object };
};

beforeAll(async () => {
  daemon = await startDaemon({ rules: RULES, ca: true });
  document = (await ask('GET', ADMIN_PATHS.openapi)).value as typeof document;
});
afterAll(async () => daemon[Symbol.asyncDispose]());

function ask(method: string, target: string, body = '', type = 'application/json'): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = body === '' ? {} : { 'Content-Type': type };
    const options = { socketPath: daemon.adminSocket, method, path: target, agent: false, headers };
    const request = http.request(options, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += String(chunk)));
      response.on('end', () => {
        const answered = response.headers['content-type'] ?? '';
        const value: unknown = /[/+]json/.test(answered) ? JSON.parse(text) : text;
        resolve({ status: response.statusCode ?? 0, type: answered.split(';')[0] ?? '', value });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Throws where the answer is not what the document says of it. */
function validate(method: string, target: string, { status, type, value }: Reply): void {
  const operation = document.paths[target.split('?')[0] ?? '']?.[method.toLowerCase()];
  const content = (operation?.responses[status] ?? operation?.responses['default'])?.content[type];
  if (content === undefined) throw new Error(`${method} ${target}: no ${status} of ${type} in the document`);
  if (content.schema === undefined) return;
  const text = JSON.stringify({ ...content.schema, $defs: document.components.schemas });
  const schema = JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/')) as Parameters<
    typeof z.fromJSONSchema
  >[0];
  z.fromJSONSchema(schema).parse(value);
}

describe('the admin API of a daemon that runs', () => {
  it.each([
    ['GET', ADMIN_PATHS.health, 200, ''],
    ['GET', ADMIN_PATHS.ready, 200, ''],
    ['GET', ADMIN_PATHS.status, 200, ''],
    ['GET', ADMIN_PATHS.rules, 200, ''],
    ['POST', ADMIN_PATHS.reload, 200, ''],
    ['POST', ADMIN_PATHS.agents, 200, JSON.stringify({ agents: [AGENT] })],
    ['GET', ADMIN_PATHS.agents, 200, ''],
    ['DELETE', `${ADMIN_PATHS.agents}?id=${AGENT.id}`, 200, ''],
    ['DELETE', `${ADMIN_PATHS.agents}?id=${AGENT.id}`, 404, ''],
    ['GET', ADMIN_PATHS.grants, 200, ''],
    ['GET', ADMIN_PATHS.ca, 200, ''],
    ['GET', ADMIN_PATHS.caBundle, 200, ''],
    ['GET', `${ADMIN_PATHS.flows}?tail=1000`, 200, ''],
    ['GET', `${ADMIN_PATHS.records}?tail=1`, 200, ''],
    ['GET', ADMIN_PATHS.metrics, 200, ''],
    ['POST', ADMIN_PATHS.explain, 200, '{ "connect": "api.example.com:443" }'],
    ['POST', ADMIN_PATHS.explain, 422, '{ "connect": "api.example.com" }'],
    ['POST', ADMIN_PATHS.agents, 400, '{'],
    ['GET', `${ADMIN_PATHS.flows}?tail=x`, 400, ''],
  ] as const)('answers %s %s with %d as its document says', async (method, target, status, body) => {
    await flowsOfAllKinds();
    const reply = await ask(method, target, body);
    expect(reply.status).toBe(status);
    validate(method, target, reply);
    if (typeof reply.value !== 'object') return;
    const other = { ...reply, value: { ...(reply.value as object), more: 1 } };
    expect(() => validate(method, target, other)).toThrow('more');
  });

  it('explains what the rules in force say to a question in the words of a case, and what is wrong with one', async () => {
    const explain = (question: unknown) => ask('POST', ADMIN_PATHS.explain, JSON.stringify(question));
    for (const [request, verdict, rule, outcome] of [
      ['GET http://api.example.com/', 'allow', 'api', 'true'],
      ['GET http://other.example.com/', 'block', 'default', undefined],
    ]) {
      const explained = await explain({ request, headers: { accept: '*/*' }, agent: { name: 'web' } });
      validate('POST', ADMIN_PATHS.explain, explained);
      const rules = outcome === undefined ? [] : [{ id: 'api', outcome, decides: true }];
      const { phases } = explained.value as { readonly phases: readonly object[] };
      expect(phases.at(-1)).toMatchObject({ phase: 'request', verdict, rule, rules });
    }
    for (const [question, message] of [
      [{ conect: 'api.example.com:443' }, 'unknown key conect'],
      [{}, 'one thing is asked at a time'],
      [{ connect: 'a.test:443', dns: 'a.test A' }, 'one thing is asked at a time'],
      [{ request: 'GET http://a.test/%2e%2e/b' }, expect.stringMatching(/^refused before any rule is asked: /)],
      [{ request: 'GET' }, expect.any(String)],
      ['text', expect.any(String)],
    ]) {
      const refused = await explain(question);
      expect(refused.status).toBe(422);
      expect(refused.value).toMatchObject({ problems: [{ file: 'posted.json', message, fix: expect.any(String) }] });
    }
    const empty = await ask('POST', ADMIN_PATHS.explain, ' ');
    expect(empty.value).toMatchObject({ status: 422, problems: [{ message: 'nothing is asked' }] });
  });

  it('says what is wrong with a posted rule file, and takes nothing of it', async () => {
    const check = (text: string) => ask('POST', ADMIN_PATHS.check, text, 'application/yaml');
    const good = await check(RULES);
    validate('POST', ADMIN_PATHS.check, good);
    expect(good.value).toEqual({ ok: true, rules: 1, problems: [] });
    const bad = await check(RULES.replace('http.host', 'http.hots'));
    validate('POST', ADMIN_PATHS.check, bad);
    expect(bad.value).toMatchObject({ ok: false, rules: 0, problems: [{ file: 'posted.yaml', line: 4 }] });
    const rules = await ask('GET', ADMIN_PATHS.rules);
    expect(rules.value).toMatchObject({ rules: [{ id: 'api', file: expect.not.stringContaining('posted') }] });
    const problem = await check('x'.repeat(3 * 1024 * 1024));
    validate('POST', ADMIN_PATHS.check, problem);
    expect(problem.status).toBe(413);
    expect((await ask('POST', ADMIN_PATHS.check, RULES, 'text/plain')).status).toBe(415);
  });
});

/** A block at CONNECT, and a request that cannot be read. */
async function flowsOfAllKinds(): Promise<void> {
  if (daemon.records.all.length > 0) return;
  for (const target of ['other.example.com:443', 'a..b:443']) {
    await new Promise<void>((resolve, reject) => {
      const request = http.request({ port: daemon.port, method: 'CONNECT', path: target, agent: false });
      request.once('connect', (_, socket) => {
        socket.destroy();
        resolve();
      });
      request.once('response', (response) => response.resume().once('end', resolve));
      request.once('error', reject);
      request.end();
    });
  }
  await daemon.records.next();
  await daemon.records.next();
}
