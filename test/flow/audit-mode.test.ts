/**
 * Audit: everything is decided and recorded with the rule that would have blocked it, and only what fails technically is
 * refused. Of the whole daemon (--enforcement audit), of a file's defaults, and of one rule.
 */
import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/domain/record.ts';
import { connectTunnel, openAgent, openHttps } from '../kit/agent.ts';
import { startFilter } from '../kit/dns-filter.ts';
import { addressesIn } from '../kit/dns-message.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { rulesFile } from '../kit/rules.ts';
import { DOORS, type Door, startDoors } from '../property/doors.ts';
import { fileOf, problemsOf, rulesOf } from '../unit/policy/kit.ts';
import { ask, blockRule, interceptRule, refusalOf, startInterceptScene } from './intercept-scene.ts';
import { askPlain, startScene } from './scene.ts';

const audit = { enforcement: 'audit' } as const;
const POST_ONLY = rulesFile(
  blockRule('no-delete', 'http.method == "DELETE"'),
  interceptRule('post-only', 'http.host == "api.test" && http.method == "POST"'),
);

/** Rule and would_block of the records of requests, or of all. */
function decided(records: Iterable<AuditRecord>): unknown[] {
  return [...records].map(({ verdict, rule, would_block }) => [verdict, rule, would_block]);
}

describe('a daemon in audit', () => {
  it.each(DOORS)('lets through what it would block, and records that, by the door %s', async (door: Door) => {
    const outcomes: unknown[] = [];
    for (const enforcement of ['enforce', 'audit'] as const) {
      await using doors = await startDoors({ rules: POST_ONLY, enforcement });
      const asks = [{ method: 'POST', path: '/1', body: '' }, { path: '/2' }, { method: 'DELETE', path: '/3' }];
      const statuses: number[] = [];
      for (const one of asks) statuses.push((await doors.ask(door, one))[0]);
      const requests = doors.proxy.records.all.filter(({ event }) => event === 'request');
      outcomes.push([statuses, decided(requests), doors.origins[door].requests.count]);
    }
    expect(outcomes).toEqual([
      [
        [200, 403, 403],
        [
          ['allow', 'post-only', null],
          ['block', 'default', null],
          ['block', 'no-delete', null],
        ],
        1,
      ],
      [
        [200, 200, 200],
        [
          ['allow', 'post-only', null],
          ['allow', 'default', 'default'],
          ['allow', 'default', 'no-delete'],
        ],
        3,
      ],
    ]);
  });

  it('tunnels to hosts that nothing allows, unread, and records that', async () => {
    await using scene = await startScene(audit);
    await using agent = await openHttps(scene.proxy, scene.other, { ca: scene.originCa.certPem });
    expect((await agent.request({ target: '/', headers: ['Host: other.test'] })).status).toBe(200);
    agent.finish();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      ...{ verdict: 'allow', rule: 'default', would_block: 'default', taken: 'tunnel', host: 'other.test' },
    });
    await using enforcing = await startScene();
    await using refused = await connectTunnel(enforcing.proxy, enforcing.other);
    expect(refused.reply.status).toBe(403);
  });

  it('passes answers that their rule would refuse, and records that', async () => {
    const rules = rulesFile(
      interceptRule('answers', 'http.host == "api.test"', ", response: 'http.response.status == 204'"),
    );
    await using scene = await startInterceptScene({ rules, ...audit });
    await using agent = await scene.open();
    expect((await ask(agent, '/')).status).toBe(200);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', rule: 'answers', would_block: 'answers' });
    expect((await ask(agent, '/status/204')).status).toBe(204);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', rule: 'answers', would_block: null });
  });

  it('records what it would block also where the rule that let it through leaves no record', async () => {
    const rules = rulesFile(
      blockRule('no-get', 'http.host == "plain.test" && http.method == "GET"'),
      `{ id: quiet, condition: 'http.host == "plain.test"', action: allow, log: false }`,
    );
    await using scene = await startScene({ rules, ...audit });
    await using agent = await openAgent(scene.proxy);
    expect((await askPlain(scene, agent, '/1', { method: 'POST', body: '' })).status).toBe(200);
    expect((await askPlain(scene, agent, '/2')).status).toBe(200);
    expect(decided(scene.proxy.records)).toEqual([['allow', 'quiet', 'no-get']]);
  });

  it('still refuses what fails technically: addresses, names that differ, framing, origins that do not verify', async () => {
    await using scene = await startInterceptScene({ rules: POST_ONLY, ...audit, zone: { 'private.test': '10.1.2.3' } });
    await using misdirected = await scene.open();
    expect(refusalOf(await misdirected.request({ target: '/', headers: ['Host: other.test'] }))).toEqual([
      421,
      'misdirected_request',
    ]);
    await using smuggler = await scene.open();
    const twoLengths = 'POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab';
    await smuggler.send(twoLengths);
    expect(refusalOf(await smuggler.readReply())).toEqual([400, 'bad_request']);
    await using somewhere = await connectTunnel(scene.proxy, 'private.test:443');
    expect(refusalOf(somewhere.reply)).toEqual([403, 'address_refused']);
    await expect(scene.open({ servername: 'other.test' })).rejects.toThrow();
    expect(scene.origin.bytes).toBe(0);
    await using strangers = await startInterceptScene({ rules: POST_ONLY, ...audit, trust: [] });
    await using agent = await strangers.open();
    expect(refusalOf(await ask(agent, '/'))).toEqual([502, 'upstream_handshake_failed']);
    const records = [...scene.proxy.records, ...strangers.proxy.records];
    expect(records.map(({ verdict, reason, would_block }) => [verdict, reason, would_block])).toEqual([
      ['failed', 'misdirected_request', null],
      ['failed', 'bad_request', null],
      ['failed', 'address_refused', 'default'],
      ['failed', 'sni_mismatch', null],
      ['failed', 'upstream_handshake_failed', 'default'],
    ]);
    await using twin = await scene.open();
    expect((await ask(twin, '/')).status).toBe(200);
  });
});

describe('a learning run, with unmatched: intercept', () => {
  const LEARN = 'version: "1"\ndefaults: { enforcement: audit, unmatched: intercept }\nrules: []\n';

  it('sees method and path of what nothing allows, over any host', async () => {
    await using scene = await startInterceptScene({ rules: LEARN });
    for (const name of ['api.test', 'other.test']) {
      await using agent = await scene.open({ target: `${name}:${scene.origin.port}` });
      const reply = await agent.request({
        method: 'PUT',
        target: '/v1/x?key=1',
        headers: [`Host: ${name}`],
        body: 'x',
      });
      expect(reply.status).toBe(200);
      expect(await scene.proxy.nextRecord()).toMatchObject({
        ...{ verdict: 'allow', rule: 'default', would_block: 'default', mode: 'intercept', taken: 'intercept' },
        ...{ host: name, method: 'PUT', path: '/v1/x?key=[redacted]', scheme: 'https' },
      });
    }
  });

  it('is an error at load without a CA', () => {
    expect(problemsOf(LEARN, { caLoaded: false }).filter(({ severity }) => severity === 'error')).toMatchObject([
      { line: 2, message: expect.stringContaining('CA') },
    ]);
    expect(problemsOf(LEARN, { caLoaded: true }).filter(({ severity }) => severity === 'error')).toEqual([]);
  });
});

describe('one rule in audit', () => {
  it('records what it would block and leaves it to the rules after it; others block as ever', async () => {
    const rules = rulesFile(
      `{ id: trial, condition: 'http.method == "GET"', action: block, enforcement: audit }`,
      blockRule('no-put', 'http.method == "PUT"'),
      interceptRule('api', 'http.host == "api.test"'),
    );
    await using scene = await startInterceptScene({ rules });
    const statuses: number[] = [];
    for (const method of ['GET', 'POST', 'PUT']) {
      await using agent = await scene.open();
      statuses.push((await ask(agent, '/', { method })).status);
    }
    expect(statuses).toEqual([200, 200, 403]);
    expect(decided(scene.proxy.records)).toEqual([
      ['allow', 'api', 'trial'],
      ['allow', 'api', null],
      ['block', 'no-put', null],
    ]);
  });

  it('that looks at answers passes those that it would refuse; a file’s defaults are for all of its rules', async () => {
    const answers = (more: string) =>
      `{ id: answers, condition: 'true', action: allow, ${more}egress: { mode: intercept, response: 'http.response.status == 204' } }`;
    const file = rulesFile(answers('')).replace('rules:', 'defaults: { enforcement: audit }\nrules:');
    for (const rules of [rulesFile(answers('enforcement: audit, ')), file]) {
      await using scene = await startInterceptScene({ rules });
      await using agent = await scene.open();
      expect((await ask(agent, '/')).status).toBe(200);
      expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', would_block: 'answers' });
    }
  });
});

describe('the DNS filter in audit', () => {
  it('answers names that nothing allows, and records that', async () => {
    const file = fileOf([{ id: 'api', condition: 'http.host == "api.test"' }]);
    await using scene = await startFilter(rulesOf(file, audit));
    const client = await scene.client();
    expect(addressesIn(await client.ask({ name: 'other.test' }))).toHaveLength(1);
    expect(addressesIn(await client.ask({ name: 'api.test' }))).toHaveLength(1);
    expect(decided(scene.records)).toEqual([
      ['allow', 'default', 'default'],
      ['allow', 'api', null],
    ]);
    await using enforcing = await startFilter(rulesOf(file));
    expect(await (await enforcing.client()).ask({ name: 'other.test' })).toMatchObject({ rcode: 3 });
  });

  it('asks outside for record types that no rule names, as a rule that names them would', async () => {
    const file = fileOf([{ id: 'api', condition: 'http.host == "api.test"' }]);
    const asked: unknown[] = [];
    for (const context of [audit, {}]) {
      await using scene = await startFilter(rulesOf(file, context));
      const { rcode } = await (await scene.client()).ask({ name: 'api.test', type: 'TXT' });
      asked.push([rcode, scene.outside.queries.count, ...decided(scene.records)]);
    }
    expect(asked).toEqual([
      [0, 1, ['allow', 'default', 'default']],
      [5, 0, ['block', 'default', null]],
    ]);
  });
});

it('an agent is told by GET /policy what is so: in audit, that it may use everything', async () => {
  await using scene = await startScene(audit);
  await using agent = await openAgent(scene.proxy);
  const reply = await agent.request({ target: '/policy', headers: ['Host: proxy'] });
  expect(fieldOf(reply.headers, 'content-type')).toBe('application/json');
  expect(JSON.parse(reply.body.toString()).hosts).toContainEqual({
    ...{ host: '*', schemes: ['https', 'http'], ports: 'any', methods: 'any', partly: [], intercepted: false },
  });
});
