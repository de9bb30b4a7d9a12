/**
 * A bad agent turns to the appliance itself and to other agents: what else listens there, their addresses through the proxy,
 * a proxy behind the proxy (threats rows 23, 24, 25). The witnesses listen where nobody should come.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NamespaceListener } from '../kit/namespace-listener.ts';
import type { Agent } from './kit/agent.ts';
import { startAgent } from './kit/agent.ts';
import { APPLIANCE_ADDRESS, type Appliance, startAppliance } from './kit/appliance.ts';
import { enterContainer, startAttacker } from './kit/attacker.ts';
import { contactsAbout, ORIGIN, setZone } from './kit/internet.ts';
import { describeOnEngine, docker, tryDocker } from './kit/lab.ts';

const PORT = 9_999;
const PROXY = `http://${APPLIANCE_ADDRESS}:8080`;
const APPLIANCE = 'outcall-appliance-1';

/** Rules that name what must not be reached all the same, with every permission that a rule can give. */
const rulesFor = (names: readonly string[]) => `version: "1"
rules:
  - id: forbidden
    condition: network.hostname in ${JSON.stringify(names)}
    action: allow
    egress: { allow_private_ips: true }
  - id: allowed
    condition: http.host == "allowed.example"
    action: allow
`;

describeOnEngine('an agent that turns to its neighbours', () => {
  let appliance: Appliance;
  let attacker: Agent;
  let victim: Agent;
  /** The appliance on its way out. */
  let uplink: string;

  beforeAll(async () => {
    appliance = await startAppliance({ rules: rulesFor([]) });
    [attacker, victim] = await Promise.all([startAttacker(), startAgent()]);
    const format = '{{(index .NetworkSettings.Networks "outcall-uplink").IPAddress}}';
    uplink = await docker(['inspect', '-f', format, APPLIANCE]);
    await setZone({
      'allowed.example': ORIGIN,
      'victim.example': victim.address,
      'self.example': APPLIANCE_ADDRESS,
      'uplink.example': uplink,
      'loop.example': '127.0.0.1',
    });
  });
  afterAll(async () => {
    await Promise.all([attacker, victim].map((agent) => agent?.[Symbol.asyncDispose]()));
    await appliance?.[Symbol.asyncDispose]();
  });

  /** The proxy's answer to CONNECT; 000 where there is none. */
  async function connectTo(target: string): Promise<string> {
    const args = ['--proxy', PROXY, '--proxytunnel', '--output', '/dev/null', '--write-out', '%{http_connect}'];
    return (await attacker.curl(...args, `http://${target}/`)).stdout;
  }

  it('reaches nothing that listens on the appliance, at any of its addresses', async () => {
    await using listener = await NamespaceListener.open(await enterContainer(APPLIANCE), PORT);
    for (const address of [APPLIANCE_ADDRESS, uplink])
      for (const port of [PORT, 15_001, 9_090])
        expect((await attacker.exec(['nc', '-z', '-w', '1', address, String(port)])).code).not.toBe(0);
    expect(listener.accepted).toBe(0);
    await appliance.exec(['perl', '-MIO::Socket::INET', '-e', `IO::Socket::INET->new("127.0.0.1:${PORT}") or die`]);
    await listener.connection;
  });

  it('reaches neither the appliance nor another agent through the proxy, though rules name them', async () => {
    const names = ['victim.example', 'self.example', 'uplink.example', 'loop.example', 'localhost', '127.0.0.1'];
    const targets = [...names, victim.address, APPLIANCE_ADDRESS, uplink, '10.203.128.1'];
    appliance.writeRules(rulesFor(targets));
    await appliance.reload();
    await using atVictim = await NamespaceListener.open(await enterContainer(victim.id), PORT);
    await using atAppliance = await NamespaceListener.open(await enterContainer(APPLIANCE), PORT);
    for (const target of [...targets, '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0'])
      for (const port of [PORT, 8080, 53])
        expect([target, port, await connectTo(`${target}:${port}`)]).toEqual([
          target,
          port,
          expect.stringMatching(/^(000|4\d\d|5\d\d)$/),
        ]);
    for (const target of targets)
      expect((await attacker.curl('--proxy', PROXY, `http://${target}:${PORT}/`)).stdout).not.toContain('hello');
    expect([atVictim.accepted, atAppliance.accepted]).toEqual([0, 0]);
    expect(await connectTo('allowed.example:80')).toBe('200');
    expect((await attacker.exec(['nc', '-z', '-w', '1', victim.address, String(PORT)])).code).toBe(0);
    await atVictim.connection;
  });

  it('finds no admin API, neither on a port nor as a path of the proxy', async () => {
    for (const path of ['/v1/status', '/v1/agents', '/v1/rules', '/v1/health', '/metrics']) {
      for (const url of [`${PROXY}${path}`, `http://127.0.0.1${path}`, `http://localhost:8080${path}`]) {
        const direct = await attacker.curl(url);
        const proxied = await attacker.curl('--proxy', PROXY, url);
        expect(direct.stdout + proxied.stdout).not.toMatch(/generation|uptime|outcall_|"state"/);
      }
    }
    expect((await appliance.exec(['outcall', 'admin', 'GET', '/v1/health'])).stdout).toContain('"state"');
  });

  it('gets no CONNECT through a CONNECT, and no proxy behind an allowed host', async () => {
    const answersTo = async (target: string, inner: string) => {
      const bytes = `CONNECT ${target} HTTP/1.1\\r\\nHost: ${target}\\r\\n\\r\\n${inner}\\r\\n\\r\\n`;
      const script = `exec 3<>/dev/tcp/${APPLIANCE_ADDRESS}/8080; printf '${bytes}' >&3; timeout 3 cat <&3`;
      const { stdout } = await attacker.exec(['bash', '-c', script]);
      return [...stdout.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status);
    };
    const connect = 'CONNECT denied.example:443 HTTP/1.1\\r\\nHost: denied.example:443';
    expect(await answersTo('allowed.example:80', connect)).toEqual(['200', expect.stringMatching(/^4/)]);
    for (const target of [`${APPLIANCE_ADDRESS}:8080`, 'self.example:8080'])
      expect(await answersTo(target, connect)).toEqual([expect.stringMatching(/^[45]/)]);
    expect(await contactsAbout('denied.example')).toEqual([]);
    const get = 'GET /inside HTTP/1.1\\r\\nHost: allowed.example\\r\\nConnection: close';
    expect(await answersTo('allowed.example:80', get)).toEqual(['200', '200']);
    expect(await contactsAbout('/inside')).toEqual(['request GET http://allowed.example/inside']);
  });

  it('has no way to the engine, nor to what the host publishes', async () => {
    await using published = await startAgent({ network: 'bridge', args: ['--publish', '8088:8088'] });
    const gateways = ['10.203.0.1', '172.17.0.1', '198.51.100.2', published.address];
    await using listener = await NamespaceListener.open(await enterContainer(published.id), 8088);
    for (const address of gateways)
      expect((await attacker.exec(['nc', '-z', '-w', '1', address, '8088'])).code).not.toBe(0);
    expect(listener.accepted).toBe(0);
    await using free = await startAgent({ network: 'bridge' });
    await free.exec(['bash', '-c', `exec 3<>/dev/tcp/${published.address}/8088`]);
    await listener.connection;
    expect((await tryDocker(['exec', attacker.id, 'ls', '/var/run/docker.sock'])).code).not.toBe(0);
  });
});
