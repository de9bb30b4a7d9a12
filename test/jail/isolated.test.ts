import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RAW_SENDER } from '../kit/raw-sender.ts';
import { rulesFile } from '../kit/rules.ts';
import {
  AGENT,
  APPLIANCE,
  APPLIANCE_THERE,
  INET,
  jailLacks,
  MATE,
  METADATA,
  OWN,
  OWN_NETWORK,
  RESOLVER,
  UPLINK,
} from './network.ts';
import { Jail, JailAgent } from './scene.ts';

const ZONE = { 'web.test': '198.18.0.10', 'git.test': '198.18.0.22', 'own.test': OWN };
const RULES = rulesFile(
  `{ id: web, condition: 'http.host == "web.test"', action: allow }`,
  `{ id: git, condition: 'http.host == "git.test"', action: allow, egress: { mode: direct_ip, ports: [22] } }`,
  `{ id: own, condition: 'http.host == "own.test"', action: allow, egress: { allow_private_ips: true } }`,
);
/** The interfaces are looked at four times a second. */
const TAKEN_UP_MS = 10_000;
const lacking = jailLacks();

describe.skipIf(lacking !== undefined)('a network of one agent that is plugged in while the daemon runs', () => {
  let jail: Jail;
  let own: JailAgent;

  beforeAll(async () => {
    jail = await Jail.start({ rules: RULES, names: ['web.test'], zone: ZONE });
    own = new JailAgent(jail.network, 'own');
    await plug(() => jail.network.plugOwn(), 'network_served');
  });

  afterAll(async () => {
    await own?.[Symbol.asyncDispose]();
    await jail?.[Symbol.asyncDispose]();
  });

  beforeEach(() => jail.network.resetWitness());

  async function plug(change: () => void, event: string): Promise<void> {
    const { log } = jail.daemon;
    const before = log.count;
    change();
    await log.some((line) => line['event'] === event && log.all.lastIndexOf(line) >= before, TAKEN_UP_MS);
  }

  function getWeb(agent: JailAgent, address: string) {
    return agent.does({ op: 'get', scheme: 'http', address, host: 'web.test' });
  }

  it('is served through every door, with addresses of its own', async () => {
    expect((await jail.daemon.status()).isolated).toEqual({ range: '10.204.0.0/14', served: [OWN_NETWORK] });
    const address = await own.addressOf('web.test', APPLIANCE_THERE);
    expect(address).toMatch(/^10\.204\.[23]\./);
    expect(await getWeb(own, address)).toMatchObject({ status: 200 });
    const git = await own.addressOf('git.test', APPLIANCE_THERE);
    expect(await own.does({ op: 'open', address: git, port: 22 })).toMatchObject({ text: 'SSH-2.0-jail\r\n' });
    const connect = (target: string) => own.does({ op: 'connect', proxy: APPLIANCE_THERE, target });
    expect(await connect('web.test:80')).toEqual({ status: 200 });
    expect(await connect('denied.test:80')).toEqual({ status: 403 });
    expect(await own.does({ op: 'resolve', name: 'denied.test', server: APPLIANCE_THERE })).toEqual({
      error: 'ENOTFOUND',
    });
  });

  it('reaches no other network, no door of another network, no other port; and names of one mean nothing on the other', async () => {
    const shared = await jail.agent.addressOf('web.test');
    const theirs = await own.addressOf('web.test', APPLIANCE_THERE);
    const wishes = [
      [MATE, 80],
      [AGENT, 80],
      [APPLIANCE, 8080],
      [APPLIANCE, 53],
      [UPLINK, 8080],
      [shared, 80],
      [APPLIANCE_THERE, 15_001],
      [ZONE['web.test'], 80],
      [INET, 80],
    ] as const;
    for (const [address, port] of wishes) {
      expect([address, port, (await own.does({ op: 'open', address, port })).error]).toEqual([
        address,
        port,
        'silence',
      ]);
    }
    expect(await own.does({ op: 'open', address: theirs, port: 22 })).toEqual({ error: 'ECONNREFUSED' });
    expect((await getWeb(jail.agent, theirs)).error).toBeDefined();
    expect(await jail.agent.does({ op: 'connect', proxy: APPLIANCE, target: 'own.test:80' })).toEqual({ status: 403 });
    expect([
      jail.network.packetsAtInet().filter((packet) => packet.startsWith('tcp')),
      jail.network.packetsAt('mate'),
    ]).toEqual([[], []]);
    expect(await getWeb(own, theirs)).toMatchObject({ status: 200 });
    expect(await getWeb(jail.agent, shared)).toMatchObject({ status: 200 });
  });

  it('lets no raw packet through, whoever it says it is of: not outside, not to agents, not in another’s name', async () => {
    const before = (await jail.daemon.status()).open_flows;
    jail.network.run('own', 'python3', RAW_SENDER, APPLIANCE_THERE, ZONE['web.test'], METADATA, MATE, UPLINK, INET);
    expect(await getWeb(own, await own.addressOf('web.test', APPLIANCE_THERE))).toMatchObject({ status: 200 });
    const known = [`tcp ${ZONE['web.test']} 80`, `udp ${RESOLVER} 53`, `tcp ${RESOLVER} 53`];
    expect(jail.network.packetsAtInet().filter((packet) => !known.includes(packet))).toEqual([]);
    expect(jail.network.packetsAt('mate')).toEqual([]);
    expect((await jail.daemon.status()).open_flows).toBe(before);
    expect(jail.daemon.records.all.filter(({ agent_ip }) => agent_ip === MATE)).toEqual([]);
  });

  it('is heard by the one address of its agent alone', async () => {
    const ask = () => own.does({ op: 'resolve', name: 'web.test', server: APPLIANCE_THERE });
    jail.network.run('own', 'ip', 'addr', 'flush', 'dev', 'eth0');
    jail.network.run('own', 'ip', 'addr', 'add', '10.204.0.9/22', 'dev', 'eth0');
    expect((await ask()).error).toBeDefined();
    jail.network.run('own', 'ip', 'addr', 'flush', 'dev', 'eth0');
    jail.network.run('own', 'ip', 'addr', 'add', `${OWN}/22`, 'dev', 'eth0');
    jail.network.run('own', 'ip', 'route', 'add', 'default', 'via', APPLIANCE_THERE);
    expect((await ask()).addresses).toBeDefined();
  });

  it('is dropped when it is unplugged, and the lock stays whole; plugged in again it is served again', async () => {
    const entry = { id: 'a'.repeat(64), name: 'one', image: 'image', labels: {}, ip: OWN };
    const told = await jail.daemon.cli('admin', 'POST', '/v1/agents', JSON.stringify({ agents: [entry] }));
    expect(told.stdout).toContain(OWN);
    await plug(() => jail.network.unplugOwn(), 'network_dropped');
    expect((await jail.daemon.cli('admin', 'GET', '/v1/agents')).stdout).not.toContain(OWN);
    expect(await jail.daemon.status()).toMatchObject({ lock: 'intact', isolated: { served: [] } });
    expect(jail.network.run('appliance', 'ip', 'route', 'show', 'table', 'local')).not.toContain('10.204.');
    expect(jail.network.run('appliance', 'nft', 'list', 'table', 'inet', 'outcall')).not.toContain('eth2');
    await plug(() => jail.network.plugOwn(), 'network_served');
    expect(await getWeb(own, await own.addressOf('web.test', APPLIANCE_THERE))).toMatchObject({ status: 200 });
    expect(await getWeb(jail.agent, await jail.agent.addressOf('web.test'))).toMatchObject({ status: 200 });
  });

  it('that does not fit stays closed both ways, and the log says so', async () => {
    await plug(() => jail.network.unplugOwn(), 'network_dropped');
    await plug(() => jail.network.plugOwn('10.204.0.9/22'), 'network_refused');
    for (const port of [53, 8080, 80]) {
      expect((await own.does({ op: 'open', address: '10.204.0.9', port })).error).toBe('silence');
    }
    const out = 'IO::Socket::INET->new(Proto => "udp", PeerAddr => "10.204.0.3:9")->send("x") or exit 7';
    expect(() => jail.network.run('appliance', 'perl', '-MIO::Socket::INET', '-e', out)).toThrow();
    jail.network.unplugOwn();
    await plug(() => jail.network.plugOwn(), 'network_served');
    expect(await getWeb(own, await own.addressOf('web.test', APPLIANCE_THERE))).toMatchObject({ status: 200 });
  });
});
