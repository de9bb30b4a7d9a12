/**
 * Property 28: a block rule that cannot be evaluated blocks, an allow rule that cannot be evaluated does not match, through
 * every door and in both phases. Each request has a twin for which the same rule can be evaluated.
 */
import { describe, expect, it } from 'vitest';
import { loadRules } from '../../src/policy/load.ts';
import { rulesFile } from '../kit/rules.ts';
import { type Ask, DOORS, startDoors } from './doors.ts';

const API = 'http.host == "api.test"';
const ALLOW = `{ id: rest, condition: '${API}', action: allow, egress: { mode: intercept } }`;
const ALLOW_BODY = ALLOW.replace('intercept }', 'intercept, match_body: true }');
const blockIf = (condition: string) => `{ id: no, condition: '${condition}', action: block }`;

const POST = { method: 'POST', path: '/p' };
const FAILING: readonly (readonly [string, string, failing: Ask, evaluated: Ask])[] = [
  [
    'a header that is not there',
    `${API} && http.headers["x-team"] == "red"`,
    { path: '/' },
    { path: '/', headers: [['X-Team', 'blue']] },
  ],
  ['a query parameter that is not there', `${API} && http.query["q"] == ["1"]`, { path: '/' }, { path: '/?q=2' }],
  [
    'a body that is not JSON',
    `${API} && http.json.tool == "shell"`,
    { ...POST, body: 'tool: shell' },
    { ...POST, body: '{"tool":"search"}' },
  ],
  [
    'JSON of another shape',
    `${API} && http.json.tool.startsWith("sh")`,
    { ...POST, body: '{"tool":["shell"]}' },
    { ...POST, body: '{"tool":"search"}' },
  ],
  ['a number that is none', `${API} && int(http.query["n"][0]) > 5`, { path: '/?n=x' }, { path: '/?n=1' }],
  [
    'an evaluation over its budget',
    `${API} && http.body.split("").exists(a, a == "z" && http.body.split("").exists(b, b == "y"))`,
    { ...POST, body: 'z'.repeat(20_000) },
    { ...POST, body: 'ab' },
  ],
];

describe.each(DOORS)('through %s', (door) => {
  it.each(FAILING)(
    'a block rule that fails on %s blocks, and does not where it can be evaluated',
    async (_, condition, failing, evaluated) => {
      await using doors = await startDoors({ rules: rulesFile(blockIf(condition), ALLOW_BODY) });
      const origin = doors.origins[door];
      expect(await doors.ask(door, failing)).toEqual([403, 'no']);
      expect(origin.heads.count).toBe(0);
      const records = doors.proxy.records;
      expect(await records.some(({ verdict }) => verdict === 'block')).toMatchObject({ rule: 'no', reason: 'error' });
      expect(await doors.ask(door, evaluated)).toEqual([200, undefined]);
      expect(origin.heads.count).toBe(1);
    },
  );

  it('an allow rule that fails does not match, and matches where it can be evaluated', async () => {
    const rule = `{ id: red, condition: '${API} && http.headers["x-team"] == "red"', action: allow, egress: { mode: intercept } }`;
    await using doors = await startDoors({ rules: rulesFile(rule) });
    // Plain text in a CONNECT is reached like everything inside: the connection waits for the request.
    expect(await doors.ask(door, { path: '/' })).toEqual([403, 'default']);
    expect(await doors.ask(door, { path: '/', headers: [['X-Team', 'blue']] })).toEqual([403, 'default']);
    expect(doors.origins[door].heads.count).toBe(0);
    expect(await doors.ask(door, { path: '/', headers: [['X-Team', 'red']] })).toEqual([200, undefined]);
  });

  it('a block rule about the agent that fails blocks the connection: nothing is resolved or dialled', async () => {
    const agents = (ip: string) => ({
      name: 'a',
      image: 'i',
      labels: ip === '127.0.0.1' ? {} : { team: 'blue' },
      ip,
    });
    const rules = rulesFile(blockIf('agent.labels["team"] == "red"'), ALLOW);
    await using doors = await startDoors({ rules, agents });
    expect(await doors.knock(door, 'api.test')).toEqual([403, 'no']);
    expect([doors.origins[door].connections, doors.proxy.resolver.queries.count]).toEqual([0, 0]);
    expect(await doors.ask(door, { path: '/', localAddress: '127.0.0.2' })).toEqual([200, undefined]);
  });
});

describe('a tunnel', () => {
  it('is not opened past a block rule that waits for a request that nobody will see', async () => {
    const rules = rulesFile(
      blockIf(`${API} && http.headers["x-team"] == "red"`),
      `{ id: tunnel, condition: 'http.host in ["api.test", "other.test"]', action: allow }`,
    );
    await using doors = await startDoors({ rules });
    expect(await doors.knock('CONNECT + TLS', 'api.test')).toEqual([403, 'no']);
    expect([doors.origins['CONNECT + TLS'].connections, doors.proxy.resolver.queries.count]).toEqual([0, 0]);
    expect(await doors.knock('CONNECT + TLS', 'other.test')).toEqual([200, undefined]);
  });
});

describe('a condition that can never be evaluated', () => {
  it.each(['http.host == 5', 'http.method', 'http.hots == "a"', 'http.path.matches("(")', 'size(http.host)'])(
    'is an error when it is loaded: %s',
    (condition) => {
      const load = (text: string) =>
        loadRules([{ file: 'rules.yaml', text: rulesFile(text) }], {
          caLoaded: true,
          generation: 1,
          anchors: new Map(),
        }).ok;
      expect(load(`{ id: no, condition: '${condition}', action: block }`)).toBe(false);
      expect(load(blockIf(API))).toBe(true);
    },
  );
});
