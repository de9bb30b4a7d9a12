/**
 * A bad agent with Docker's default capabilities tries every other way out: ports, protocols, addresses, frames made by hand
 * (threats rows 14, 15, 21, 24). The witnesses see every packet that comes to the internet or to the host's own programs; each
 * way is also tried from a container that no appliance holds, and there they do see it.
 */
import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Agent } from './kit/agent.ts';
import { APPLIANCE_ADDRESS, type Appliance, startAppliance, until } from './kit/appliance.ts';
import { sendFrames, startAttacker, tryEverything } from './kit/attacker.ts';
import { contacts, forget, ORIGIN, type Packet, packets, setZone } from './kit/internet.ts';
import { describeOnEngine, docker, runIn } from './kit/lab.ts';

/** Of the pool, and given to no name. */
const NAMELESS = '10.203.255.254';
const RULES = `version: "1"
rules:
  - id: allowed
    condition: http.host == "allowed.example"
    action: allow
`;

/** An address of the internet that no rule and no name leads to. */
const OUTSIDE = `198.19.${randomInt(1, 255)}.${randomInt(1, 255)}`;
const OUTSIDE6 = '2001:db8:2::10';
const RESOLVER = '198.51.100.53';
const METADATA = '169.254.169.254';
/** The engine's host, on its wire to the internet. */
const HOST = '198.51.100.2';
const HOST6 = '2001:db8:1::2';
const INTERNET6 = '2001:db8:1::1';
/** The bridge that containers are on unless they say otherwise. */
const DOCKER0 = '172.17.0.1';
/** What the bridge of the agents' network would have, had it an address. */
const GATEWAY = '10.203.0.1';
/** Kinds of ICMPv6 (RFC 4443, 4861). */
const ECHO_REQUEST = 128;
const NEIGHBOUR_ADVERTISEMENT = 136;
/** FROM TO KIND HOPS. 78 is Linux's IPV6_FREEBIND: FROM need not be an address of ours. */
const SEND_ICMP6 = `import socket, sys
source, target, kind, hops = sys.argv[1:]
with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
    sock.setsockopt(socket.IPPROTO_IPV6, 78, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, int(hops))
    sock.bind((source, 0))
    sock.sendto(bytes([int(kind), 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, source).rjust(20, b'\\0'), (target, 0))`;
const INTERNET = [OUTSIDE, ORIGIN, RESOLVER, METADATA, '198.51.100.1'];

describeOnEngine('an agent with the capabilities that Docker gives by default', () => {
  let appliance: Appliance;
  let attacker: Agent;
  let free: Agent;

  beforeAll(async () => {
    await setZone({ 'allowed.example': ORIGIN });
    appliance = await startAppliance({ rules: RULES, fresh: true });
    [attacker, free] = await Promise.all([startAttacker(), startAttacker({ network: 'bridge' })]);
  });
  afterAll(async () => {
    await Promise.all([attacker, free].map((agent) => agent?.[Symbol.asyncDispose]()));
    await appliance?.[Symbol.asyncDispose]();
  });
  beforeEach(forget);

  /** What the internet saw that is not the appliance's own business: the allowed request, and looking up its name. */
  async function strangePackets(): Promise<readonly unknown[]> {
    expect((await attacker.curl('http://allowed.example/still')).stdout).toContain('GET /still');
    const seen = await packets('inet');
    const known = ({ to, port }: Packet) => (to === ORIGIN && port === 80) || (to === RESOLVER && port === 53);
    expect(seen.some(({ to, port }) => to === ORIGIN && port === 80)).toBe(true);
    expect((await contacts()).filter(({ kind, what }) => kind === 'query' && !what.startsWith('allowed.'))).toEqual([]);
    return seen.filter((packet) => !known(packet));
  }

  async function packetsOfAgentsAtHost(): Promise<readonly unknown[]> {
    return (await packets('host')).filter((packet) => packet.interface === 'outcall0');
  }

  it('is not blamed for how the host finds its neighbours; the witness sees what differs in sender, kind or hops', async () => {
    await using host = await startAttacker({ network: 'host', dns: false });
    const found = { from: HOST6, kind: NEIGHBOUR_ADVERTISEMENT, hops: 255 };
    for (const other of [{ from: '2001:db8:1::9' }, { kind: ECHO_REQUEST }, { hops: 64 }]) {
      const twin = { ...found, ...other };
      await forget();
      for (const { from, kind, hops } of [found, twin])
        expect(await host.exec(['python3', '-c', SEND_ICMP6, from, INTERNET6, `${kind}`, `${hops}`])).toMatchObject({
          code: 0,
        });
      const seen = async () => (await packets('inet')).filter(({ to }) => to === INTERNET6).map(({ from }) => from);
      await until('the twin is seen', async () => (await seen()).length > 0);
      expect(await seen()).toEqual([twin.from]);
    }
  });

  it('reaches nothing with a socket: no port, no UDP, QUIC, ICMP, DNS, no host, no metadata, no IPv6', async () => {
    const uplink = await addressOnUplink();
    const name = await syntheticAddress(attacker);
    const hosts = [HOST, DOCKER0, GATEWAY, HOST6, uplink.own, uplink.gateway];
    const targets = [...INTERNET, OUTSIDE6, ...hosts, APPLIANCE_ADDRESS, name, NAMELESS];
    const doors = [
      ...[`tcp ${APPLIANCE_ADDRESS} 53`, `tcp ${APPLIANCE_ADDRESS} 8080`, `udp ${APPLIANCE_ADDRESS} 53`],
      ...[`tcp ${name} 80`, `tcp ${name} 443`],
    ];
    // Reset as soon as it is accepted, so a client sees now the one first and now the other.
    const reset = (line: string) => [80, 443].some((port) => line.startsWith(`tcp ${NAMELESS} ${port} `));
    const answered = (await tryEverything(attacker, targets, doors)).filter((line) => !reset(line));
    expect(answered.filter((line) => !line.endsWith('refused')).sort()).toEqual(
      doors.map((door) => `${door} open`).sort(),
    );
    // A reset comes from the appliance alone, for ports of its pool.
    expect(
      answered.filter((line) => line.endsWith('refused') && !/^tcp 10\.203\.(1[3-9]|2|12[89])/.test(line)),
    ).toEqual([]);
    expect(await strangePackets()).toEqual([]);
    expect(await packetsOfAgentsAtHost()).toEqual([]);
  });

  it('which from a container elsewhere reach all of it', async () => {
    const open = [
      ...[`tcp ${OUTSIDE} 443`, `tcp ${OUTSIDE} 853`, `tcp ${METADATA} 80`],
      ...[`udp ${ORIGIN} 443`, `udp ${RESOLVER} 53`, `icmp ${OUTSIDE} 0`],
    ];
    const refused = `tcp ${DOCKER0} 22`;
    const answered = await tryEverything(free, [OUTSIDE, ORIGIN, RESOLVER, METADATA, DOCKER0], [...open, refused]);
    expect(answered).toEqual(
      expect.arrayContaining([...open.map((attempt) => `${attempt} open`), `${refused} refused`]),
    );
    const seen = (await packets('inet')).filter(({ to }) => to === OUTSIDE);
    expect(seen.filter(({ protocol }) => protocol === 'tcp').map(({ port }) => port)).toEqual(
      expect.arrayContaining([22, 53, 80, 443, 853, 5432]),
    );
    expect(seen.map(({ protocol, port }) => `${protocol} ${port ?? ''}`)).toEqual(
      expect.arrayContaining(['udp 53', 'udp 443', 'udp 9001', 'icmp ', 'esp ', 'sctp ']),
    );
    expect((await packets('host')).filter((packet) => packet.interface === 'docker0')).not.toEqual([]);
  });

  it('reaches nobody outside with frames made by hand, sent to the appliance, to the bridge and to all', async () => {
    const bridge = await macOf('outcall0');
    for (const via of [APPLIANCE_ADDRESS, bridge, 'ff:ff:ff:ff:ff:ff'])
      await sendFrames(attacker, via, [...INTERNET, OUTSIDE6]);
    expect(await strangePackets()).toEqual([]);
  });

  it('which from a container elsewhere reach them', async () => {
    await sendFrames(free, await macOf('docker0'), [OUTSIDE]);
    const seen = (await packets('inet')).filter(({ to }) => to === OUTSIDE);
    expect(seen.map(({ protocol, port }) => `${protocol} ${port ?? ''}`)).toEqual(
      expect.arrayContaining(['tcp 80', 'tcp 443', 'udp 53', 'udp 443', 'icmp ', 'sctp ']),
    );
  });

  it('can send no frame and take no address once NET_RAW is dropped, as compose/agent.yaml does', async () => {
    await using bound = await startAttacker({ args: ['--cap-drop', 'NET_RAW'] });
    await expect(sendFrames(bound, APPLIANCE_ADDRESS, [OUTSIDE])).rejects.toThrow('Operation not permitted');
    const changes = [
      'address add 10.203.64.200/16 dev eth0',
      'link set eth0 address 02:42:0a:cb:00:02',
      'route add default via 10.203.0.2',
    ];
    for (const agent of [attacker, bound])
      for (const change of changes)
        expect((await agent.exec(['ip', ...change.split(' ')])).stderr).toContain('Operation not permitted');
    await sendFrames(attacker, APPLIANCE_ADDRESS, [OUTSIDE]);
  });

  it('changes no route of the appliance, the host or another agent by router advertisements', async () => {
    const routes = async () =>
      Promise.all([
        appliance.exec(['ip', '-6', 'route']).then(({ stdout }) => stdout),
        runIn('host', ['ip', '-6', 'route']).then(({ stdout }) => stdout),
      ]);
    const before = await routes();
    await sendFrames(attacker, '--router-advertisement', []);
    expect(await strangePackets()).toEqual([]);
    expect(await routes()).toEqual(before);
  });
});

/** Where the appliance is on its way out, and the host there. */
async function addressOnUplink(): Promise<{ readonly own: string; readonly gateway: string }> {
  const format = '{{with index .NetworkSettings.Networks "outcall-uplink"}}{{.IPAddress}} {{.Gateway}}{{end}}';
  const [own = '', gateway = ''] = (await docker(['inspect', '-f', format, 'outcall-appliance-1'])).split(' ');
  return { own, gateway };
}

async function syntheticAddress(agent: Agent): Promise<string> {
  return (await agent.exec(['dig', '+short', 'allowed.example'])).stdout.trim();
}

/** Of an interface of the engine's host. */
async function macOf(device: string): Promise<string> {
  const { stdout } = await runIn('host', ['ip', '-json', 'link', 'show', 'dev', device]);
  const [link] = JSON.parse(stdout) as { readonly address: string }[];
  if (link === undefined) throw new Error(`no ${device}`);
  return link.address;
}
