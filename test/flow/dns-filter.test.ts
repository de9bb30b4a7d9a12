import { Resolver as SystemResolver } from 'node:dns/promises';
import { describe, expect, it } from 'vitest';
import { type FilterScene, startFilter } from '../kit/dns-filter.ts';
import { addressesIn, type DnsTypeName, question, wireName } from '../kit/dns-message.ts';
import { hasProgram, run } from '../kit/run.ts';
import { nextTurn } from '../kit/within.ts';
import { type RuleText, ruleSetOf } from '../unit/policy/kit.ts';

const API: RuleText = {
  id: 'api',
  condition: 'http.host == "api.test" && http.method == "POST"',
  egress: { mode: 'intercept' },
};
const NO: RuleText = { id: 'no-uploads', condition: 'domain(http.host, "uploads.test")', action: 'block' };
const TXT: RuleText = { id: 'txt', condition: 'dns.query == "txt.test" && dns.record_type == "TXT"' };
const RULES = ruleSetOf(NO, API, TXT);

const POOL_ADDRESS = /^10\.203\.(12[89]|1[3-9][0-9]|2[0-9]{2})\.[0-9]{1,3}$/;

describe('an agent that asks for a name', () => {
  it('is given a synthetic address for an allowed one, the same over UDP and TCP', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    const answer = await client.ask({ name: 'API.test' });
    expect(answer).toMatchObject({ rcode: 0, truncated: false, question: { name: 'API.test' } });
    expect(answer.answers).toMatchObject([{ name: 'API.test', ttl: 60 }]);
    const [address] = addressesIn(answer);
    expect(address).toMatch(POOL_ADDRESS);
    expect(scene.pool.nameAt(address as string)).toBe('api.test');
    await using stream = await client.stream();
    expect(addressesIn(await stream.ask({ name: 'api.test' }))).toEqual([address]);
  });

  it('is told that a blocked one does not exist, and by EDE which rule says so', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    const byDefault = await client.ask({ name: 'other.test', edns: 1_232 });
    expect(byDefault).toMatchObject({ rcode: 3, answers: [], authority: [{ type: 6, ttl: 5 }] });
    expect(byDefault.error).toEqual({
      code: 15,
      text: expect.stringMatching(/^Blocked by outcall: no rule allows this/),
    });
    const byRule = await client.ask({ name: 'eu.uploads.test', edns: 1_232 });
    expect(byRule).toMatchObject({ rcode: 3, error: { code: 15, text: 'Blocked by outcall: rule no-uploads' } });
    const allowed = await client.ask({ name: 'api.test', edns: 1_232 });
    expect(allowed).toMatchObject({ rcode: 0, error: undefined });
  });

  it.each(['AAAA', 'HTTPS', 'SVCB'] as const)('has an empty answer for %s of an allowed one', async (type) => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    expect(await client.ask({ name: 'api.test', type })).toMatchObject({
      rcode: 0,
      answers: [],
      authority: [{ type: 6 }],
    });
    expect(await client.ask({ name: 'other.test', type })).toMatchObject({ rcode: 3, answers: [] });
  });

  it.each(['TXT', 'NULL', 'MX', 'SRV', 'ANY'] as const)('is refused %s, with the reason', async (type) => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    const answer = await client.ask({ name: 'api.test', type, edns: 1_232 });
    expect(answer).toMatchObject({ rcode: 5, answers: [] });
    expect(answer.error?.text).toContain(type);
    expect(scene.outside.queries.count).toBe(0);
  });

  it('causes no query outside, whatever it asks, but for the name and type that a rule names', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    const types: readonly DnsTypeName[] = [
      'A',
      'AAAA',
      'NS',
      'CNAME',
      'SOA',
      'PTR',
      'MX',
      'TXT',
      'SRV',
      'NULL',
      'HTTPS',
      'ANY',
    ];
    for (const name of ['api.test', 'secret-data.api.test', 'eu.uploads.test', '1.0.0.127.in-addr.arpa', '']) {
      for (const type of types) await client.ask({ name, type });
    }
    for (const type of types.filter((each) => each !== 'TXT')) await client.ask({ name: 'txt.test', type });
    await client.ask({ name: 'secret-data.txt.test', type: 'TXT' });
    expect(scene.outside.queries.count).toBe(0);
    const answer = await client.ask({ name: 'TXT.test', type: 'TXT' });
    expect(answer.answers).toMatchObject([{ name: 'TXT.test', type: 16, data: Buffer.from('\x07outside') }]);
    expect(scene.outside.queries.count).toBe(1);
  });

  it('sees the rules of now', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    expect((await client.ask({ name: 'new.test' })).rcode).toBe(3);
    scene.rules = { ...ruleSetOf({ id: 'new', condition: 'http.host == "new.test"' }), generation: 2 };
    expect((await client.ask({ name: 'new.test' })).rcode).toBe(0);
    expect((await client.ask({ name: 'api.test' })).rcode).toBe(3);
  });

  it('has the names of the rules that are for it, and of no other agent', async () => {
    const mine: RuleText = { id: 'mine', condition: 'http.host == "api.test" && agent.name == "agent-5"' };
    await using scene = await startFilter(ruleSetOf(mine));
    const [five, six] = [await scene.client('127.0.0.5'), await scene.client('127.0.0.6')];
    const [address] = addressesIn(await five.ask({ name: 'api.test' }));
    expect((await six.ask({ name: 'api.test' })).rcode).toBe(3);
    const reverse = `${(address as string).split('.').reverse().join('.')}.in-addr.arpa`;
    const own = await five.ask({ name: reverse, type: 'PTR' });
    expect(own.answers).toMatchObject([{ type: 12, data: wireName('api.test') }]);
    expect(await six.ask({ name: reverse, type: 'PTR' })).toMatchObject({ rcode: 3, answers: [] });
    expect(await five.ask({ name: '1.0.0.10.in-addr.arpa', type: 'PTR' })).toMatchObject({ rcode: 5, answers: [] });
  });

  it('has its question recorded, with the verdict', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client('127.0.0.7');
    const [address] = addressesIn(await client.ask({ name: 'api.test' }));
    await client.ask({ name: 'eu.uploads.test', type: 'AAAA' });
    await client.ask({ name: 'other.test', type: 'TXT' });
    await client.ask({ name: 'a\0b.test' });
    expect(scene.records.all).toMatchObject([
      {
        host: 'api.test',
        method: 'A',
        verdict: 'allow',
        rule: 'api',
        mode: 'intercept',
        reason: null,
        detail: address,
      },
      { host: 'eu.uploads.test', method: 'AAAA', verdict: 'block', rule: 'no-uploads', reason: 'rule' },
      { host: 'other.test', method: 'TXT', verdict: 'block', rule: 'default', reason: 'default' },
      { host: 'a\\000b.test', method: 'A', verdict: 'failed', rule: null, reason: 'invalid_host' },
    ]);
    const common = {
      subsystem: 'dns',
      event: 'query',
      agent: 'agent-7',
      agent_ip: '127.0.0.7',
      taken: 'none',
      upstream: null,
    };
    for (const record of scene.records) expect(record).toMatchObject(common);
    expect(new Set(scene.records.all.map(({ flow }) => flow)).size).toBe(4);
  });

  it('is not recorded where the rule says so', async () => {
    await using scene = await startFilter(ruleSetOf({ ...API, log: false }));
    const client = await scene.client();
    await client.ask({ name: 'api.test' });
    await client.ask({ name: 'other.test' });
    expect(scene.records.all.map(({ host }) => host)).toEqual(['other.test']);
  });

  it('gets no name while records cannot be written', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    scene.auditBlocked = true;
    expect(await client.ask({ name: 'api.test' })).toMatchObject({ rcode: 2, answers: [] });
    expect(await client.ask({ name: 'txt.test', type: 'TXT' })).toMatchObject({ rcode: 2, answers: [] });
    expect(scene.outside.queries.count).toBe(0);
    scene.auditBlocked = false;
    expect((await client.ask({ name: 'api.test' })).rcode).toBe(0);
  });

  it('has its answer only when the grant for the name is there', async () => {
    const granted = Promise.withResolvers<void>();
    const grants: string[] = [];
    const onName = (host: string, address: string) => {
      grants.push(`${host} ${address}`);
      return granted.promise;
    };
    await using scene = await startFilter(RULES, { onName });
    const client = await scene.client();
    const answer = client.ask({ name: 'api.test' });
    expect((await client.ask({ name: 'other.test' })).rcode).toBe(3);
    await nextTurn();
    expect(client.answers.count).toBe(1);
    granted.resolve();
    expect(grants).toEqual([`api.test ${addressesIn(await answer)[0]}`]);
  });
});

describe('whoever is no agent', () => {
  it('is refused whatever it asks, over UDP and TCP, and is recorded', async () => {
    await using scene = await startFilter(RULES);
    const stranger = await scene.client('127.1.0.1');
    for (const type of ['A', 'AAAA', 'TXT', 'PTR'] as const) {
      expect(await stranger.ask({ name: 'api.test', type })).toMatchObject({ rcode: 5, answers: [], authority: [] });
    }
    await using stream = await stranger.stream();
    expect(await stream.ask({ name: 'api.test', edns: 512 })).toMatchObject({ rcode: 5, error: { code: 18 } });
    expect(scene.records.all).toHaveLength(5);
    for (const record of scene.records) {
      expect(record).toMatchObject({ verdict: 'block', agent: '', agent_ip: '127.1.0.1', host: 'api.test' });
    }
    const agent = await scene.client('127.0.0.9');
    expect((await agent.ask({ name: 'api.test' })).rcode).toBe(0);
  });
});

describe('a client that speaks EDNS', () => {
  it('is answered in EDNS, its version 0 alone, and DO repeated', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    const answer = await client.ask({ name: 'api.test', edns: 4_096, dnssecOk: true });
    expect(answer).toMatchObject({ rcode: 0, opt: { udpBytes: 1_232, dnssecOk: true, version: 0 } });
    expect(await client.ask({ name: 'api.test', edns: 4_096, ednsVersion: 1 })).toMatchObject({
      rcode: 16,
      answers: [],
    });
  });
});

describe('an answer that is longer than the client takes', () => {
  it('is cut to nothing over UDP, and whole over TCP', async () => {
    const bytes = Buffer.alloc(4 * 220);
    for (let at = 0; at < bytes.length; at += 220) {
      Buffer.from('c00c0010000100000005', 'hex').copy(bytes, at);
      bytes.writeUInt16BE(208, at + 10);
      bytes[at + 12] = 207;
    }
    await using scene = await startFilter(RULES, { relay: async () => ({ rcode: 0, bytes, count: 4 }) });
    const client = await scene.client();
    const cut = await client.ask({ name: 'txt.test', type: 'TXT' });
    expect(cut).toMatchObject({ rcode: 0, truncated: true, answers: [] });
    const larger = await client.ask({ name: 'txt.test', type: 'TXT', edns: 1_232 });
    expect(larger).toMatchObject({ truncated: false });
    await using stream = await client.stream();
    const whole = await stream.ask({ name: 'txt.test', type: 'TXT' });
    expect([whole.truncated, whole.answers.length, larger.answers.length]).toEqual([false, 4, 4]);
  });
});

describe('ordinary clients', () => {
  it('resolve: Node with c-ares', async () => {
    await using scene = await startFilter(RULES);
    const resolver = clientOf(scene);
    expect(await resolver.resolve4('api.test', { ttl: true })).toMatchObject([{ ttl: 60 }]);
    await expect(resolver.resolve6('api.test')).rejects.toMatchObject({ code: 'ENODATA' });
    await expect(resolver.resolve4('other.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(resolver.resolveTxt('api.test')).rejects.toMatchObject({ code: 'EREFUSED' });
    expect(await resolver.resolveTxt('txt.test')).toEqual([['outside']]);
  });

  it.skipIf(!hasProgram('dig'))('resolve: dig, over UDP and TCP', async () => {
    await using scene = await startFilter(RULES);
    const dig = async (...args: string[]) =>
      (await run('dig', ['@127.0.0.1', '-p', String(scene.filter.port), '+tries=1', ...args])).stdout;
    expect(await dig('+short', 'api.test')).toMatch(/^10\.203\./);
    expect(await dig('+tcp', '+short', 'api.test')).toMatch(/^10\.203\./);
    expect(await dig('other.test')).toMatch(/status: NXDOMAIN[\s\S]*EDE: 15 \(Blocked\)/);
    expect(await dig('api.test', 'TXT')).toMatch(/status: REFUSED/);
  });
});

describe('the DNS filter', () => {
  it('answers no message that is an answer, so that two of its kind cannot keep each other busy', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    client.send(question({ id: 1, name: 'api.test', flags: 0x8180 }));
    client.send(Buffer.from([0, 1, 2]));
    expect((await client.ask({ id: 2, name: 'api.test' })).rcode).toBe(0);
    expect(client.answers.count).toBe(1);
  });

  it('says what is wrong with a message, and records that', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    const twice = Buffer.concat([question({ id: 7, name: 'api.test' }), Buffer.from('x')]);
    expect((await client.exchange(twice)).toString('hex')).toBe('000781810000000000000000');
    const update = question({ id: 8, name: 'api.test', flags: 0x2800 });
    expect((await client.exchange(update)).toString('hex')).toBe('0008a8840000000000000000');
    expect(scene.records.all).toMatchObject([
      { verdict: 'failed', reason: 'bad_request', host: null, method: null },
      { verdict: 'failed', reason: 'method_refused', host: null, method: null },
    ]);
  });

  it('says SERVFAIL where it fails itself, and goes on', async () => {
    const pool = { addressFor: () => undefined } as never;
    await using empty = await startFilter(RULES, { pool });
    const client = await empty.client();
    expect(await client.ask({ name: 'api.test', edns: 512 })).toMatchObject({ rcode: 2, error: { code: 0 } });
    expect(empty.records.all).toMatchObject([{ verdict: 'failed', reason: 'dns_failed', rule: 'api' }]);
    const faulty = (host: string) => {
      if (host === 'api.test') throw new Error('a fault');
    };
    await using scene = await startFilter(ruleSetOf(API, { id: 'b', condition: 'http.host == "b.test"' }), {
      onName: faulty,
    });
    const other = await scene.client();
    expect((await other.exchange(question({ id: 9, name: 'api.test' }))).toString('hex')).toBe(
      '000981820000000000000000',
    );
    expect((await other.ask({ name: 'b.test' })).rcode).toBe(0);
    expect(scene.faults).toMatchObject([{ event: 'dns_fault' }]);
  });

  it('says SERVFAIL where our own resolver has no answer', async () => {
    await using scene = await startFilter(RULES);
    await scene.outside[Symbol.asyncDispose]();
    const client = await scene.client();
    expect(await client.ask({ name: 'txt.test', type: 'TXT' })).toMatchObject({ rcode: 2, answers: [] });
    expect(scene.records.all).toMatchObject([{ verdict: 'failed', reason: 'dns_timeout', rule: 'txt', method: 'TXT' }]);
  });

  it('does not start where its port is taken, and can be started after it was stopped', async () => {
    await using scene = await startFilter(RULES);
    const listen = { host: '127.0.0.1', port: scene.filter.port };
    await expect(startFilter(RULES, { listen })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await scene.filter.stop();
    await using again = await startFilter(RULES, { listen });
    expect((await (await again.client()).ask({ name: 'api.test' })).rcode).toBe(0);
  });
});

function clientOf(scene: FilterScene): SystemResolver {
  const resolver = new SystemResolver({ tries: 1 });
  resolver.setServers([`127.0.0.1:${scene.filter.port}`]);
  return resolver;
}
