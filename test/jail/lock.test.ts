import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NamespaceListener } from '../kit/namespace-listener.ts';
import { RAW_SENDER } from '../kit/raw-sender.ts';
import { rulesFile } from '../kit/rules.ts';
import { AGENT, APPLIANCE, INET, jailLacks, MATE, METADATA, PRIVATE_HOST, RESOLVER, UPLINK } from './network.ts';
import { Jail, type JailAgent } from './scene.ts';

const NAMES = ['web.test', 'api.test', 'paths.test', 'git.test', 'db.test', 'tls.test', 'mate.test', 'private.test'];
const ZONE = {
  'web.test': '198.18.0.10',
  'api.test': '198.18.0.11',
  'paths.test': '198.18.0.12',
  'git.test': '198.18.0.22',
  'db.test': '198.18.0.54',
  'tls.test': '198.18.0.84',
  'denied.test': '198.18.0.99',
  'mate.test': MATE,
  'private.test': PRIVATE_HOST,
};
const allow = (name: string, more = '') =>
  `{ id: ${name}, condition: 'http.host == "${name}.test"', action: allow${more} }`;
const GIT = allow('git', ', egress: { mode: direct_ip, ports: [22] }');
const OTHERS = [
  allow('web'),
  `{ id: api, condition: 'http.host == "api.test" && http.method == "GET" && http.path == "/ok"', action: allow, egress: { mode: intercept } }`,
  `{ id: paths, condition: 'http.host == "paths.test" && http.path == "/ok"', action: allow }`,
  allow('db', ', egress: { mode: direct_ip, ports: [5432] }'),
  allow('mate', ', egress: { allow_private_ips: true }'),
  allow('private', ', egress: { allow_private_ips: true }'),
  `{ id: literal, condition: 'network.hostname == "${MATE}" || network.hostname == "${APPLIANCE}" || network.hostname == "10.203.128.1"', action: allow, egress: { allow_private_ips: true } }`,
];
const RULES = rulesFile(GIT, ...OTHERS);

const lacking = jailLacks();

describe.skipIf(lacking !== undefined)(
  `a locked network${lacking === undefined ? '' : ` (skipped: needs ${lacking})`}`,
  () => {
    let jail: Jail;
    let agent: JailAgent;

    beforeAll(async () => {
      jail = await Jail.start({ rules: RULES, names: NAMES, zone: ZONE });
      agent = jail.agent;
    });

    afterAll(() => jail?.[Symbol.asyncDispose]());

    beforeEach(() => jail.network.resetWitness());

    /** The positive twin of every refusal, and the mark after which nothing that was sent before can still arrive. */
    async function webStillWorks(): Promise<void> {
      const address = await agent.addressOf('web.test');
      const ca = jail.originCa.certPem;
      expect(await agent.does({ op: 'get', scheme: 'https', address, host: 'web.test', ca })).toMatchObject({
        status: 200,
      });
    }

    /** What came into the internet beside that. */
    async function strangePackets(): Promise<readonly string[]> {
      await webStillWorks();
      const known = [`tcp ${ZONE['web.test']} 443`, `udp ${RESOLVER} 53`, `tcp ${RESOLVER} 53`];
      const packets = jail.network.packetsAtInet();
      expect(packets).toContain(known[0]);
      return packets.filter((packet) => !known.includes(packet));
    }

    it('resolves allowed names to addresses of the pool, denies the others, and asks nobody outside', async () => {
      const asked = jail.contacts.all.filter(({ what }) => what === 'dns').length;
      expect(await agent.addressOf('git.test')).toMatch(/^10\.203\.(12[89]|1[3-9][0-9]|2[0-9][0-9])\./);
      expect(await agent.does({ op: 'resolve', name: 'denied.test', server: APPLIANCE })).toEqual({
        error: 'ENOTFOUND',
      });
      expect(jail.network.packetsAtInet()).toEqual([]);
      expect(jail.contacts.all.filter(({ what }) => what === 'dns')).toHaveLength(asked);
    });

    it('lets TLS to an allowed name through on port 443, and nothing under another name', async () => {
      const address = await agent.addressOf('web.test');
      const ca = jail.originCa.certPem;
      expect(await agent.does({ op: 'get', scheme: 'https', address, host: 'web.test', ca })).toEqual({
        status: 200,
        text: 'https origin\n',
      });
      expect(await jail.contacts.next(({ what }) => what === 'https')).toMatchObject({
        where: '198.18.0.10:443',
        from: UPLINK,
      });
      expect(
        (await agent.does({ op: 'get', scheme: 'https', address, host: 'web.test', sni: 'api.test', ca })).error,
      ).toBe('EPROTO');
      expect(jail.contacts.all.filter(({ what, said }) => what === 'https' && said.includes('web.test'))).toHaveLength(
        1,
      );
    });

    it('decides each request inside TLS where a rule intercepts', async () => {
      const address = await agent.addressOf('api.test');
      const ca = await jail.daemon.cli('ca', 'bundle').then(({ stdout }) => stdout);
      const wish = { op: 'get', scheme: 'https', address, host: 'api.test', ca } as const;
      expect(await agent.does({ ...wish, path: '/ok' })).toMatchObject({ status: 200 });
      expect(await agent.does({ ...wish, path: '/other' })).toMatchObject({ status: 403 });
      expect(jail.contacts.all.filter(({ said }) => said.includes('api.test')).map(({ said }) => said)).toEqual([
        'GET api.test/ok',
      ]);
    });

    it('decides each plain request on port 80', async () => {
      const address = await agent.addressOf('paths.test');
      const wish = { op: 'get', scheme: 'http', address, host: 'paths.test' } as const;
      expect(await agent.does({ ...wish, path: '/ok' })).toMatchObject({ status: 200, text: 'http origin\n' });
      expect(await agent.does({ ...wish, path: '/other' })).toMatchObject({ status: 403 });
      expect(await agent.does({ ...wish, path: '/ok', host: 'web.test' })).toMatchObject({ status: 421 });
    });

    it('serves the explicit proxy on the same network', async () => {
      expect(await agent.does({ op: 'connect', proxy: APPLIANCE, target: 'web.test:443' })).toEqual({ status: 200 });
      expect(await agent.does({ op: 'connect', proxy: APPLIANCE, target: 'denied.test:443' })).toEqual({ status: 403 });
    });

    it('relays a server that speaks first, under direct_ip, on the port that the rule names and on no other', async () => {
      const address = await agent.addressOf('git.test');
      const { on, text } = await agent.does({ op: 'open', address, port: 22 });
      expect(text).toBe('SSH-2.0-jail\r\n');
      expect(await agent.does({ op: 'say', on: on as number, text: 'SSH-2.0-agent\r\n' })).toEqual({
        text: 'SSH-2.0-agent\r\n',
      });
      expect(await agent.does({ op: 'open', address, port: 25 })).toEqual({ error: 'ECONNREFUSED' });
      expect(jail.network.packetsAtInet().filter((packet) => packet.startsWith('tcp'))).toEqual(['tcp 198.18.0.22 22']);
    });

    it('relays a client that speaks first, under direct_ip', async () => {
      const address = await agent.addressOf('db.test');
      const { on } = await agent.does({ op: 'open', address, port: 5432 });
      expect(await agent.does({ op: 'say', on: on as number, text: 'SSLRequest' })).toEqual({ text: 'SSLRequest' });
    });

    it('lists what is granted, to which agents and until when', async () => {
      const address = await agent.addressOf('git.test');
      await agent.addressOf('web.test');
      const granted = await jail.grants();
      expect(granted.find(({ host }) => host === 'git.test')).toMatchObject({ address, port: 22, agents: [AGENT] });
      expect(granted.find(({ host }) => host === 'git.test')?.expires_secs).toBeGreaterThan(500);
      expect(granted.map(({ host }) => host)).not.toContain('web.test');
    });

    it('opens a port only once a name was asked for, and takes it away with the rule, with what is open on it', async () => {
      const address = await agent.addressOf('git.test');
      const { on } = await agent.does({ op: 'open', address, port: 22 });
      try {
        await jail.reload(rulesFile(...OTHERS));
        expect(await agent.does({ op: 'say', on: on as number, text: 'more' })).toMatchObject({
          error: expect.any(String),
        });
        expect(await agent.does({ op: 'open', address, port: 22 })).toEqual({ error: 'ECONNREFUSED' });
        expect((await jail.grants()).map(({ host }) => host)).toEqual(['db.test']);
      } finally {
        await jail.reload(RULES);
      }
      expect(await agent.does({ op: 'open', address, port: 22 })).toEqual({ error: 'ECONNREFUSED' });
      await agent.addressOf('git.test');
      expect(await agent.does({ op: 'open', address, port: 22 })).toMatchObject({ text: 'SSH-2.0-jail\r\n' });
    });

    it('resets other TCP ports of a name at once', async () => {
      const address = await agent.addressOf('web.test');
      for (const port of [22, 25, 853, 5432, 8080, 8443, 15_001]) {
        expect([port, await agent.does({ op: 'open', address, port })]).toEqual([port, { error: 'ECONNREFUSED' }]);
      }
      expect(await strangePackets()).toEqual([]);
    });

    it('resets a connection to an address that stands for no name', async () => {
      const { error, on, text } = await agent.does({ op: 'open', address: '10.203.255.254', port: 443 });
      expect([error ?? 'open', text]).toEqual([expect.stringMatching(/ECONNRESET|ended/), undefined]);
      expect(on).toBeUndefined();
      expect(await strangePackets()).toEqual([]);
    });

    it('lets no other protocol, port or address through, whatever the agent tries', async () => {
      const address = await agent.addressOf('web.test');
      const tcp = [METADATA, INET, RESOLVER, ZONE['web.test'], ZONE['denied.test']].flatMap((target) =>
        [22, 53, 80, 443, 853, 8080].map((port) => ({ op: 'open', address: target, port }) as const),
      );
      const udp = [address, APPLIANCE, METADATA, ZONE['web.test'], RESOLVER].flatMap((target) =>
        [123, 443, 853, 9001, ...(target === APPLIANCE ? [] : [53])].map(
          (port) => ({ op: 'udp', address: target, port }) as const,
        ),
      );
      const dns = [RESOLVER, ZONE['web.test']].map((server) => ({ op: 'resolve', name: 'web.test', server }) as const);
      const outcomes = await Promise.all(
        [...tcp, ...udp, ...dns].map(async (wish) => ({ wish, ...(await agent.does(wish)) })),
      );
      expect(outcomes.filter(({ error }) => error === undefined)).toEqual([]);
      expect(await strangePackets()).toEqual([]);
    });

    it('lets no raw packet through: ICMP, SCTP, forged sources, forwarded to other agents or outside', async () => {
      jail.network.run('agent', 'python3', RAW_SENDER, APPLIANCE, ZONE['web.test'], METADATA, MATE, UPLINK, INET);
      expect(await strangePackets()).toEqual([]);
      expect(jail.network.packetsAt('mate')).toEqual([]);
      expect(await agent.does({ op: 'open', address: MATE, port: 80 })).toEqual({ error: 'ECONNREFUSED' });
      expect(jail.network.packetsAt('mate')).toEqual([`tcp ${MATE} 80`]);
    });

    it('keeps what listens on the appliance to itself', async () => {
      await using listener = await NamespaceListener.open(jail.network.enter('appliance'), 9_999);
      for (const [address, port] of [
        [APPLIANCE, 9_999],
        [APPLIANCE, 15_001],
        [UPLINK, 9_999],
        [UPLINK, 8080],
      ] as const) {
        expect([address, port, await agent.does({ op: 'open', address, port })]).toEqual([
          address,
          port,
          { error: 'silence' },
        ]);
      }
      expect(listener.accepted).toBe(0);
      jail.network.run(
        'appliance',
        'perl',
        '-MIO::Socket::INET',
        '-e',
        'IO::Socket::INET->new("127.0.0.1:9999") or die $!',
      );
      await listener.connection;
      expect(listener.accepted).toBe(1);
    });

    it('speaks no IPv6 with agents, and takes no router advertisement', async () => {
      const before = jail.network.run('appliance', 'ip', '-6', 'route');
      const linkLocal = /inet6 (fe80::[0-9a-f:]+)/.exec(
        jail.network.run('appliance', 'ip', '-6', 'addr', 'show', 'dev', 'eth0'),
      )?.[1];
      expect(linkLocal).toBeDefined();
      const reach = await agent.does({ op: 'open', address: `${linkLocal}%eth0`, port: 8080 });
      expect(reach.error).toMatch(/silence|EHOSTUNREACH/);
      jail.network.run('agent', 'python3', RAW_SENDER, '--router-advertisement');
      await webStillWorks();
      expect(jail.network.run('appliance', 'ip', '-6', 'route')).toBe(before);
    });

    it('dials no address of the agents network, though a rule and --allow-private name it', async () => {
      await using listener = await NamespaceListener.open(jail.network.enter('mate'), 80);
      for (const target of ['mate.test:80', `${MATE}:80`, `${APPLIANCE}:8080`, '10.203.128.1:80']) {
        expect([target, await agent.does({ op: 'connect', proxy: APPLIANCE, target })]).toEqual([
          target,
          { status: 403 },
        ]);
      }
      expect(await agent.does({ op: 'connect', proxy: APPLIANCE, target: 'private.test:80' })).toEqual({ status: 200 });
      expect(listener.accepted).toBe(0);
      expect(await agent.does({ op: 'open', address: MATE, port: 80 })).toMatchObject({ text: 'hello\n' });
      expect(listener.accepted).toBe(1);
    });
  },
);
