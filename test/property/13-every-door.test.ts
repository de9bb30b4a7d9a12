/**
 * Property 13: the same rules give the same verdict through every door, asserted at the origin behind each: what one door
 * refuses, no other lets pass.
 */
import { describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { type Answer, type Ask, DOORS, startDoors } from './doors.ts';

const API = 'http.host == "api.test"';
const RULES = rulesFile(
  `{ id: no-admin, condition: '${API} && http.path.startsWith("/admin")', action: block }`,
  `{ id: no-shell, condition: '${API} && http.method == "POST" && http.body.contains("rm -rf")', action: block }`,
  `{ id: no-red, condition: '${API} && http.header("X-Team") == "red"', action: block }`,
  `{ id: one-agent, condition: '${API} && http.path == "/one" && agent.ip != "127.0.0.1"', action: block }`,
  `{ id: rest, condition: '${API} && http.method in ["GET", "POST"] && !("q" in http.query)', action: allow, egress: { mode: intercept } }`,
);

const ALLOWED = [200, undefined] as const;
const CASES: readonly (readonly [string, Ask, Answer, url?: string])[] = [
  ['what a rule allows', { path: '/ok' }, ALLOWED, '/ok'],
  ['a body that is allowed', { method: 'POST', path: '/post', body: 'rm -r' }, ALLOWED, '/post'],
  ['a header that is allowed', { path: '/blue', headers: [['X-Team', 'blue']] }, ALLOWED, '/blue'],
  ['an escape that needs none', { path: '/%6fk' }, ALLOWED, '/ok'],
  ['an encoded slash', { path: '/a%2fb' }, ALLOWED, '/a%2Fb'],
  ['an agent that is allowed', { path: '/one' }, ALLOWED, '/one'],
  ['another agent', { path: '/one', localAddress: '127.0.0.2' }, [403, 'one-agent']],
  ['a path', { path: '/admin' }, [403, 'no-admin']],
  ['a path with an escape', { path: '/%61dmin' }, [403, 'no-admin']],
  ['a path with a doubled slash', { path: '//admin' }, [403, 'no-admin']],
  ['a body', { method: 'POST', path: '/post', body: 'sudo rm -rf /' }, [403, 'no-shell']],
  ['a header', { path: '/red', headers: [['x-tEAM', 'red']] }, [403, 'no-red']],
  ['a method', { method: 'DELETE', path: '/ok' }, [403, 'default']],
  ['a method in lower case', { method: 'get', path: '/ok' }, [405, 'method_refused']],
  ['a query parameter', { path: '/ok?q=1' }, [403, 'default']],
  ['dot segments', { path: '/ok/../admin' }, [400, 'ambiguous_request']],
  ['encoded dot segments', { path: '/ok/%2e%2e/admin' }, [400, 'ambiguous_request']],
  ['a backslash', { path: '/ok\\..\\admin' }, [400, 'ambiguous_request']],
  ['another host', { path: '/ok', host: 'other.test' }, [421, 'misdirected_request']],
  ['TRACE', { method: 'TRACE', path: '/ok' }, [405, 'method_refused']],
];

describe.each(DOORS)('through %s', (door) => {
  it('each request has the verdict that it has through every other door, and the origin gets what is allowed alone', async () => {
    await using doors = await startDoors({ rules: RULES });
    const answers: [string, Answer][] = [];
    for (const [what, ask] of CASES) answers.push([what, await doors.ask(door, ask)]);
    expect(answers).toEqual(CASES.map(([what, , answer]) => [what, answer]));
    expect(doors.origins[door].heads.all.map(({ url }) => url)).toEqual(
      CASES.flatMap(([, , , url]) => (url === undefined ? [] : [url])),
    );
  });

  it('a host that no rule allows is refused before anything is resolved or dialled, and one that is allowed is not', async () => {
    await using doors = await startDoors({ rules: RULES });
    expect(await doors.knock(door, 'other.test')).toEqual([403, 'default']);
    expect([doors.origins[door].connections, doors.proxy.resolver.queries.count]).toEqual([0, 0]);
    expect(await doors.knock(door, 'api.test')).toEqual([200, undefined]);
    expect(doors.proxy.resolver.asked('api.test')).toBeGreaterThan(0);
  });

  it('a rule for one port is a rule for that port', async () => {
    await using doors = await startDoors({
      rules: rulesFile(`{ id: port, condition: '${API}', action: allow, egress: { mode: intercept, ports: [1] } }`),
    });
    expect(await doors.knock(door, 'api.test')).toEqual([403, 'default']);
    expect([doors.origins[door].connections, doors.proxy.resolver.queries.count]).toEqual([0, 0]);
    const { port } = doors.origins[door];
    doors.proxy.reload(
      rulesFile(`{ id: port, condition: '${API}', action: allow, egress: { mode: intercept, ports: [${port}] } }`),
    );
    expect(await doors.knock(door, 'api.test')).toEqual([200, undefined]);
  });
});
