/** What a container reaches through the explicit proxy of the real image, asserted at the internet's own log. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Agent, startAgent } from './kit/agent.ts';
import { type Appliance, startAppliance } from './kit/appliance.ts';
import { contactsAbout, ORIGIN, setZone } from './kit/internet.ts';
import { describeOnEngine } from './kit/lab.ts';

const RULES = `version: "1"
rules:
  - id: posts
    condition: http.host == "inside.example" && http.method == "POST"
    action: allow
    egress: { mode: intercept }
  - id: whole
    condition: http.host == "tunnel.example"
    action: allow
`;

describeOnEngine('the explicit proxy of the image', () => {
  let appliance: Appliance;
  let agent: Agent;

  beforeAll(async () => {
    await setZone({ 'inside.example': ORIGIN, 'tunnel.example': ORIGIN, 'other.example': ORIGIN });
    appliance = await startAppliance({ rules: RULES });
    agent = await startAgent({ proxy: true });
  });
  afterAll(async () => {
    await agent?.[Symbol.asyncDispose]();
    await appliance?.[Symbol.asyncDispose]();
  });

  it('passes an allowed request inside TLS, and one that differs in its method reaches no origin', async () => {
    const allowed = await agent.curl('--data', 'x', 'https://inside.example/v1');
    expect(JSON.parse(allowed.stdout)).toMatchObject({ host: 'inside.example', did: 'POST /v1' });
    const refused = await agent.curl('https://inside.example/v1');
    expect(refused.stdout).toContain('Blocked by outcall');
    const requests = (await contactsAbout('inside.example')).filter((contact) => contact.startsWith('request'));
    expect(requests).toEqual(['request POST https://inside.example/v1']);
  });

  it('tunnels to an allowed host, and a host that no rule names is not even resolved', async () => {
    const allowed = await agent.curl('--cacert', '/lab/none', 'https://other.example/');
    expect(allowed.code).not.toBe(0);
    expect(await contactsAbout('other.example')).toEqual([]);
    await agent.curl('--insecure', 'https://tunnel.example/in');
    expect(await contactsAbout('tunnel.example')).toContain('request GET https://tunnel.example/in');
  });

  it('takes a rule from the mounted folder while it runs', async () => {
    expect((await agent.curl('http://other.example/later')).stdout).toContain('Blocked by outcall');
    const before = (await appliance.status())?.generation ?? 0;
    appliance.writeRules(`${RULES}  - id: plain\n    condition: http.host == "other.example"\n    action: allow\n`);
    await appliance.reload();
    expect((await appliance.status())?.generation).toBeGreaterThan(before);
    expect((await agent.curl('http://other.example/later')).stdout).toContain('GET /later');
    expect(await contactsAbout('http://other.example')).toEqual(['request GET http://other.example/later']);
  });
});
