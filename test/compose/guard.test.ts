/**
 * What agents that keep NET_RAW do to each other on the shared bridge, and that the guard ends all of it (threats rows 22, 23,
 * 25). Each attack is first seen to work without the guard. Witnesses: every frame that comes to the other agent, the records
 * of the appliance, the packets that come to programs of the host.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { NamespaceListener } from '../kit/namespace-listener.ts';
import { type Agent, startAgent } from './kit/agent.ts';
import { APPLIANCE_ADDRESS, type Appliance, startAppliance, until } from './kit/appliance.ts';
import { enterContainer, startAttacker } from './kit/attacker.ts';
import { outcall, SLOW_MS } from './kit/container.ts';
import { FrameWitness, type Station, sendAs, stationOf } from './kit/frames.ts';
import { packets, setZone } from './kit/internet.ts';
import { describeOnEngine, docker, runIn } from './kit/lab.ts';

const RUN = randomBytes(4).toString('hex');
const WEB = `web-${RUN}.example`;
const APPLIANCE: Station = { mac: '02:42:0a:cb:00:02', ip: APPLIANCE_ADDRESS };
const STRANGER: Station = { mac: '02:0b:ad:0b:ad:0b', ip: '10.203.77.77' };
const RULES = `version: "1"
rules:
  - id: web
    condition: domain(http.host, "${WEB}")
    action: allow
`;

vi.setConfig({ testTimeout: 3 * SLOW_MS, hookTimeout: 3 * SLOW_MS });

describeOnEngine('agents with raw sockets on the shared bridge', () => {
  let appliance: Appliance;
  let attacker: Agent;
  let victim: Agent;
  let attackerAt: Station;
  let victimAt: Station;
  let atVictim: FrameWitness;
  let atAttacker: FrameWitness;

  beforeAll(async () => {
    await setZone({ [WEB]: '198.18.0.10' });
    appliance = await startAppliance({ rules: RULES, profiles: ['guard'] });
    await setGuard(false);
    [attacker, victim] = await Promise.all([startAttacker(), startAttacker()]);
    attackerAt = await stationOf(attacker.id, 'outcall');
    victimAt = await stationOf(victim.id, 'outcall');
    [atVictim, atAttacker] = await Promise.all([
      FrameWitness.open(victim.id, victimAt),
      FrameWitness.open(attacker.id, attackerAt),
    ]);
  });
  afterAll(async () => {
    await Promise.all([attacker, victim].map((agent) => agent?.[Symbol.asyncDispose]()));
    await setGuard(false);
    await appliance?.[Symbol.asyncDispose]();
  });

  /** On: as `docker compose --profile guard up` leaves it. Off: with what it set taken away, as its head says. */
  async function setGuard(on: boolean): Promise<void> {
    if (on) {
      await appliance.compose(['start', 'guard']);
      const settled = async () => (await appliance.compose(['logs', '--since', '60s', 'guard'])).includes(' agents');
      await until('the guard has looked', settled);
      return;
    }
    await appliance.compose(['stop', '--timeout', '5', 'guard']);
    const script = `for family in inet arp bridge; do nft delete table $family outcall_guard; done
      bridge link show | awk '/ master outcall0 / { sub(/@.*/, "", $2); system("bridge link set isolated off dev " $2) }'
      bridge fdb show br outcall0 | awk '/sticky/ { system("bridge fdb del " $1 " dev " $3 " master") }'`;
    await runIn('host', ['sh', '-c', script]);
  }

  /** Without the guard, then with it. Both agents have spoken before, and speak after: the bridge knows where they are. */
  async function withoutAndWith<T>(attack: () => Promise<T>): Promise<readonly [T, T]> {
    const results: T[] = [];
    for (const on of [false, true]) {
      await setGuard(on);
      for (const agent of [attacker, victim]) await asks(agent, `settled.${WEB}`);
      await Promise.all([atVictim.reset(), atAttacker.reset()]);
      results.push(await attack());
      for (const agent of [attacker, victim]) await asks(agent, `after.${WEB}`);
    }
    const [without, guarded] = results;
    return [without as T, guarded as T];
  }

  /** Over TCP by a socket of its own; until the bridge has found both ways again. */
  async function asks(agent: Agent, name: string): Promise<void> {
    const dig = ['dig', '+short', '+tries=1', '+timeout=2', name];
    await until(`${name} is answered`, async () => (await agent.exec(dig)).stdout.startsWith('10.203.'));
  }

  async function askersOf(name: string): Promise<readonly string[]> {
    const records = (await appliance.logs()).split('\n').filter((line) => line.includes('"subsystem":"dns"'));
    const parsed = records.map((line) => JSON.parse(line) as { agent_ip: string; host: string | null });
    return parsed.filter(({ host }) => host === name).map(({ agent_ip }) => agent_ip);
  }

  it('exchange every kind of frame, under any sender; with the guard none', async () => {
    const [without, guarded] = await withoutAndWith(async () => {
      for (const as of [attackerAt, STRANGER]) await sendAs(attacker.id, attackerAt, 'everything', as, victimAt);
      const seen = await atVictim.seen();
      return seen.filter((frame) => frame.startsWith(attackerAt.mac) || frame.startsWith(STRANGER.mac));
    });
    for (const { mac } of [attackerAt, STRANGER]) {
      for (const kind of ['ip', 'ip6', 'arp']) expect(without).toContain(`${mac} ${kind}`);
    }
    expect(guarded).toEqual([]);
  });

  it('reach each other’s open ports; with the guard none', async () => {
    const [without, guarded] = await withoutAndWith(async () => {
      await using listener = await NamespaceListener.open(await enterContainer(victim.id), 9_999);
      const { code } = await attacker.exec(['nc', '-z', '-w', '2', victimAt.ip, '9999']);
      if (code === 0) await listener.connection;
      return listener.accepted;
    });
    expect([without, guarded]).toEqual([1, 0]);
  });

  it('take the appliance’s MAC on the bridge, and so what a neighbour sends it; with the guard not', async () => {
    const [without, guarded] = await withoutAndWith(async () => {
      await sendAs(attacker.id, attackerAt, 'everything', APPLIANCE, victimAt);
      await sendAs(victim.id, victimAt, ['ask', `stolen.${WEB}`], { ...victimAt, mac: 'self' }, APPLIANCE);
      const seen = await atAttacker.seen();
      await attacker.exec(['arping', '-c', '1', '-w', '5', APPLIANCE_ADDRESS]);
      return seen.includes(`${victimAt.mac} ip`);
    });
    expect([without, guarded]).toEqual([true, false]);
  });

  it('speak to the appliance in a neighbour’s name, by its address, its MAC, or both; with the guard not', async () => {
    for (const [how, mac] of [
      ['address', 'self'],
      ['both', victimAt.mac],
    ] as const) {
      const name = `forged-${how}.${WEB}`;
      const [without, guarded] = await withoutAndWith(async () => {
        const before = (await askersOf(name)).length;
        await sendAs(attacker.id, attackerAt, ['ask', name], { mac, ip: victimAt.ip }, APPLIANCE);
        // What was sent before the mark was heard before it.
        await asks(attacker, `mark-${randomBytes(4).toString('hex')}.${WEB}`);
        return (await askersOf(name)).slice(before);
      });
      expect([how, without, guarded]).toEqual([how, [victimAt.ip], []]);
    }
  });

  it('send frames to the host’s side of the bridge, shared or their own; with the guard none comes to a program', async () => {
    await using own = await startAgent({ image: 'outcall-attacker', network: 'bridge' });
    expect(await outcall('attach', '--isolate', own.id)).toMatchObject({ code: 0 });
    try {
      const [network = ''] = Object.keys(
        JSON.parse(await docker(['inspect', '-f', '{{json .NetworkSettings.Networks}}', own.id])) as object,
      );
      const ownAt = await stationOf(own.id, network);
      const marks: readonly string[][] = [
        ['198.51.100.3', '198.51.100.4'],
        ['198.51.100.5', '198.51.100.6'],
      ];
      const [round] = [marks[Symbol.iterator]()];
      const [without, guarded] = await withoutAndWith(async () => {
        const [first = '', second = ''] = round?.next().value ?? [];
        for (const [agent, at, bridge, source] of [
          [attacker, attackerAt, 'outcall0', first],
          [own, ownAt, network, second],
        ] as const) {
          const listed = await runIn('host', ['ip', '-json', 'link', 'show', 'dev', bridge]);
          const [{ address: mac }] = JSON.parse(listed.stdout) as [{ address: string }];
          await sendAs(agent.id, at, 'everything', { mac: 'self', ip: source }, { mac, ip: '198.51.100.2' });
        }
        const seen = (await packets('host')).filter(({ from }) => from === first || from === second);
        return seen.map((packet) => packet.interface);
      });
      expect(without.toSorted()).toEqual([network, 'outcall0'].toSorted());
      expect(guarded).toEqual([]);
    } finally {
      await outcall('detach', own.id);
    }
  });

  it('are served by the appliance as before, also after it was made anew', async () => {
    await setGuard(true);
    const get = async () => (await victim.curl(`http://${WEB}/guarded`)).stdout;
    expect(await get()).toContain('GET /guarded');
    await docker(['restart', '--time', '1', 'outcall-appliance-1']);
    await appliance.untilReady();
    await until('it is served again', async () => (await get()).includes('GET /guarded'));
    await using late = await startAgent();
    expect((await late.curl(`http://${WEB}/late`)).stdout).toContain('GET /late');
  });
});
