/** What a container that knows of no proxy reaches by name, through the DNS filter and the transparent door. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Agent, startAgent } from './kit/agent.ts';
import { type Appliance, startAppliance } from './kit/appliance.ts';
import { contactsAbout, ORIGIN, packets, setZone } from './kit/internet.ts';
import { describeOnEngine } from './kit/lab.ts';

const RULES = `version: "1"
rules:
  - id: reads
    condition: http.host == "read.example" && http.method == "GET"
    action: allow
    egress: { mode: intercept }
  - id: plain
    condition: http.host == "plain.example" && http.method == "GET"
    action: allow
  - id: greeting
    condition: network.hostname == "greeting.example"
    action: allow
    egress: { mode: direct_ip, ports: [9000] }
`;

describeOnEngine('an agent that knows of no proxy', () => {
  let appliance: Appliance;
  let agent: Agent;

  beforeAll(async () => {
    const names = ['read.example', 'plain.example', 'greeting.example', 'unnamed.example'];
    await setZone(Object.fromEntries(names.map((name) => [name, ORIGIN])));
    appliance = await startAppliance({ rules: RULES });
    agent = await startAgent({ image: 'outcall-attacker' });
  });
  afterAll(async () => {
    await agent?.[Symbol.asyncDispose]();
    await appliance?.[Symbol.asyncDispose]();
  });

  it('resolves an allowed name to an address of the pool, and one that no rule names to nothing, asking no one outside', async () => {
    const allowed = await agent.exec(['dig', '+short', 'read.example']);
    expect(allowed.stdout.trim()).toMatch(/^10\.203\.(12[89]|1[3-9]\d|2\d\d)\.\d+$/);
    const refused = await agent.exec(['dig', 'unnamed.example']);
    expect(refused.stdout).toContain('status: NXDOMAIN');
    expect(await contactsAbout('read.example')).toEqual([]);
    expect(await contactsAbout('unnamed.example')).toEqual([]);
  });

  it('is served on 443 by method, and what is refused reaches no origin', async () => {
    expect((await agent.curl('https://read.example/one')).stdout).toContain('GET /one');
    expect((await agent.curl('--data', 'x', 'https://read.example/two')).stdout).toContain('Blocked by outcall');
    const requests = (await contactsAbout('read.example')).filter((contact) => contact.startsWith('request'));
    expect(requests).toEqual(['request GET https://read.example/one']);
  });

  it('is served on 80 by method, and what is refused reaches no origin', async () => {
    expect((await agent.curl('http://plain.example/one')).stdout).toContain('GET /one');
    expect((await agent.curl('--data', 'x', 'http://plain.example/two')).stdout).toContain('Blocked by outcall');
    const requests = (await contactsAbout('plain.example')).filter((contact) => contact.startsWith('request'));
    expect(requests).toEqual(['request GET http://plain.example/one']);
  });

  it('reaches a port under a direct_ip rule that names it, and the next port reaches nothing', async () => {
    const named = await agent.exec(['nc', '-w', '2', 'greeting.example', '9000'], { input: 'ping\n' });
    expect(named.stdout).toContain(`hello from ${ORIGIN}:9000`);
    await agent.exec(['nc', '-w', '2', 'greeting.example', '853'], { input: 'ping\n' });
    expect((await packets('inet')).filter(({ port }) => port === 853)).toEqual([]);
  });

  it('reaches no address by number: not the internet, not the host, not another port of the appliance', async () => {
    const before = await packets('inet');
    for (const target of [`${ORIGIN}:9000`, '198.51.100.2:22', '10.203.0.1:22', '10.203.0.2:15001'])
      await agent.exec(['nc', '-z', '-w', '1', ...target.split(':')]);
    for (const address of [ORIGIN, '198.51.100.53'])
      await agent.exec(['dig', '+tries=1', '+timeout=1', `@${address}`, 'x.example']);
    expect(await packets('inet')).toEqual(before);
    expect((await packets('host')).filter((packet) => packet.interface === 'outcall0')).toEqual([]);
  });
});
