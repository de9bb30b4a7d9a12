/**
 * Agents on networks of their own (`outcall attach --isolate`), with Docker's default capabilities: what they reach, that no
 * frame of one comes to another or speaks in its name, and that the network lives and ends with the attachment.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type Appliance, startAppliance, until } from './kit/appliance.ts';
import { Container, outcall, SLOW_MS, startWatch } from './kit/container.ts';
import { FrameWitness, type Station, sendAs, stationOf } from './kit/frames.ts';
import { contactsAbout, ORIGIN, packets, setZone } from './kit/internet.ts';
import { describeOnEngine, docker, tryDocker } from './kit/lab.ts';

const RUN = randomBytes(4).toString('hex');
const READ = `read-${RUN}.example`;
const GREETING = `greeting-${RUN}.example`;
const NAMED = `named-${RUN}.example`;
const UNNAMED = `unnamed-${RUN}.example`;
const APPLIANCE = 'outcall-appliance-1';
/** Of what is tried again, or is to fail. */
const TRY_SECONDS = 3;

const RULES = `version: "1"
rules:
  - id: reads
    condition: http.host == "${READ}" && http.method == "GET"
    action: allow
    egress: { mode: intercept }
  - id: greeting
    condition: network.hostname == "${GREETING}"
    action: allow
    egress: { mode: direct_ip, ports: [9000] }
  - id: by-name
    condition: domain(http.host, "${NAMED}") && agent.name == "iso-victim"
    action: allow
`;

vi.setConfig({ testTimeout: 3 * SLOW_MS, hookTimeout: 3 * SLOW_MS });

describeOnEngine('outcall attach --isolate', () => {
  let appliance: Appliance;
  let attacker: Container;
  let victim: Container;
  let attackerAt: Station;
  let victimAt: Station;
  /** The appliance on the attacker's network. */
  let ours: Station;

  beforeAll(async () => {
    await setZone(Object.fromEntries([READ, GREETING, NAMED, UNNAMED].map((name) => [name, ORIGIN])));
    appliance = await startAppliance({ rules: RULES });
    attacker = await Container.start('iso-attacker', 'outcall-attacker');
    victim = await Container.start('iso-victim', 'outcall-attacker');
    const attached = await outcall('attach', '--isolate', attacker.name, victim.name);
    expect(attached, attached.stderr).toMatchObject({ code: 0 });
    const [own = ''] = await attacker.networks();
    const [others = ''] = await victim.networks();
    [attackerAt, victimAt, ours] = await Promise.all([
      stationOf(attacker.name, own),
      stationOf(victim.name, others),
      stationOf(APPLIANCE, own),
    ]);
  });
  afterAll(async () => {
    for (const container of [attacker, victim]) {
      if (container !== undefined) await outcall('detach', container.name);
      await container?.[Symbol.asyncDispose]();
    }
    await appliance?.[Symbol.asyncDispose]();
  });

  /** Of the names below `under`, who asked as the records have it. */
  async function askersOf(under: string): Promise<readonly string[]> {
    const records = (await appliance.logs()).split('\n').filter((line) => line.includes('"subsystem":"dns"'));
    const parsed = records.map((line) => JSON.parse(line) as { agent: string; host: string | null });
    return parsed.filter(({ host }) => host?.endsWith(under)).map(({ agent }) => agent);
  }

  it('gives each a network of its own, and all doors of the appliance on it', async () => {
    const listed = await outcall('ps');
    expect(listed.stdout).toMatch(/^iso-attacker +outcall-attacker +10\.204\.\d+\.3 +isolated +-$/m);
    expect(listed.stdout).toMatch(/^iso-victim +outcall-attacker +10\.204\.\d+\.3 +isolated +-$/m);
    expect((await attacker.networks()).concat(await victim.networks()).length).toBe(2);
    const get = (path: string) => ['curl', '--silent', '--max-time', '10', `https://${READ}${path}`];
    expect((await attacker.exec(get('/transparent'))).stdout).toContain('GET /transparent');
    expect((await attacker.get(READ, '/plain')).stdout).toContain('GET /plain');
    const proxied = await attacker.exec([...get('/explicit'), '--proxy', `http://${ours.ip}:8080`]);
    expect(proxied.stdout).toContain('GET /explicit');
    const greeted = await attacker.exec(['nc', '-w', '2', GREETING, '9000'], { input: 'ping\n' });
    expect(greeted.stdout).toContain(`hello from ${ORIGIN}:9000`);
    expect((await attacker.exec(['dig', '+short', READ])).stdout).toMatch(/^10\.204\./);
  });

  it('lets nothing through that no rule names: names, methods, ports, addresses, other doors of the appliance', async () => {
    const before = await packets('inet');
    expect((await attacker.exec(['dig', UNNAMED])).stdout).toContain('status: NXDOMAIN');
    const proxy = ['--proxy', `http://${ours.ip}:8080`];
    const curl = (...args: readonly string[]) => attacker.exec(['curl', '--silent', '--max-time', '5', ...args]);
    expect((await curl('--data', 'x', `https://${READ}/posted`)).stdout).toContain('Blocked by outcall');
    expect((await curl(...proxy, `http://${UNNAMED}/`)).stdout).toContain('Blocked by outcall');
    const targets = [`${ORIGIN} 9000`, `${READ} 9000`, `${ours.ip} 15001`, '10.203.0.2 8080', '10.203.0.2 53'];
    for (const target of [...targets, '198.51.100.2 22', '169.254.169.254 80', `${victimAt.ip} 9`]) {
      const tried = await attacker.exec(['nc', '-z', '-w', '1', ...target.split(' ')]);
      expect([target, tried.code]).not.toEqual([target, 0]);
    }
    expect(await contactsAbout(UNNAMED)).toEqual([]);
    expect(await contactsAbout('/posted')).toEqual([]);
    const kinds = (all: typeof before) => all.filter(({ port }) => port !== 443 && port !== 53);
    expect(kinds(await packets('inet'))).toEqual(kinds(before));
  });

  it('lets no frame of one come to another, whoever it says it is of; on the shared network all of them do', async () => {
    const witness = await FrameWitness.open(victim.name, victimAt);
    const senders = [attackerAt, ours, { mac: '02:0b:ad:0b:ad:0b', ip: victimAt.ip }];
    for (const as of senders) {
      await sendAs(attacker.name, attackerAt, 'everything', as, victimAt);
      await sendAs(attacker.name, attackerAt, 'claim', as, victimAt);
    }
    expect((await attacker.exec(['arping', '-c', '1', '-w', '1', victimAt.ip])).code).not.toBe(0);
    const forged = (frame: string) => senders.some(({ mac }) => frame.startsWith(mac));
    expect((await witness.seen()).filter(forged)).toEqual([]);
    await using near = await Container.start('iso-near', 'outcall-attacker', '--network', 'outcall');
    await using mate = await Container.start('iso-mate', 'outcall-attacker', '--network', 'outcall');
    const [nearAt, mateAt] = [await stationOf(near.name, 'outcall'), await stationOf(mate.name, 'outcall')];
    const atMate = await FrameWitness.open(mate.name, mateAt);
    await sendAs(near.name, nearAt, 'everything', nearAt, mateAt);
    const kinds = (await atMate.seen()).filter((frame) => frame.startsWith(nearAt.mac));
    expect(kinds.map((frame) => frame.split(' ')[1])).toEqual(expect.arrayContaining(['arp', 'ip', 'ip6']));
    expect(kinds.length).toBeGreaterThanOrEqual(4);
  });

  it('hears nobody in the name of another, with the other’s address, its MAC, or both; each in its own is heard', async () => {
    const victims = await stationOf(APPLIANCE, (await victim.networks())[0] ?? '');
    // Its frames under the appliance's MAC have turned the bridge's mind, to its own harm alone.
    const arping = ['arping', '-c', '1', '-w', '5', ours.ip];
    await until('the bridge finds the appliance', async () => (await attacker.exec(arping)).code === 0);
    for (const mac of ['self', attackerAt.mac, victimAt.mac]) {
      for (const to of [ours, { mac: ours.mac, ip: victims.ip }, { mac: ours.mac, ip: '10.203.0.2' }]) {
        await sendAs(attacker.name, attackerAt, ['ask', `forged.${NAMED}`], { mac, ip: victimAt.ip }, to);
      }
    }
    const elsewhere = { mac: 'self', ip: attackerAt.ip.replace(/\.3$/, '.77') };
    await sendAs(attacker.name, attackerAt, ['ask', `forged.${NAMED}`], elsewhere, ours);
    await sendAs(attacker.name, attackerAt, ['ask', `own.${NAMED}`], attackerAt, ours);
    await victim.exec(['dig', '+short', `own.${NAMED}`]);
    await until('both questions are recorded', async () => (await askersOf(`own.${NAMED}`)).length === 2);
    expect((await askersOf(`own.${NAMED}`)).toSorted()).toEqual(['iso-attacker', 'iso-victim']);
    expect(await askersOf(`forged.${NAMED}`)).toEqual([]);
  });

  it('detach gives the container back what it had, and the network is gone', async () => {
    await using own = await Container.start('iso-detached', 'outcall-agent');
    const resolver = await own.exec(['cat', '/etc/resolv.conf']);
    expect(await outcall('attach', '--isolate', own.name)).toMatchObject({ code: 0 });
    const [network = ''] = await own.networks();
    expect(await outcall('detach', own.name)).toMatchObject({ code: 0 });
    expect(await own.networks()).toEqual(['bridge']);
    expect((await own.exec(['cat', '/etc/resolv.conf'])).stdout).toBe(resolver.stdout);
    expect((await tryDocker(['network', 'inspect', network])).code).not.toBe(0);
    await until(
      'the appliance forgets it',
      async () => !JSON.stringify(await appliance.status()).includes('10.204.8.'),
    );
  });

  it('comes back with an appliance that starts again, and watch connects one that was made anew', async () => {
    const reads = async (path: string) => (await attacker.get(READ, path, TRY_SECONDS)).stdout.includes(`GET ${path}`);
    await docker(['restart', '--time', '1', APPLIANCE]);
    await appliance.untilReady();
    await until('a restarted appliance serves it', () => reads('/restarted'));
    await appliance.compose(['up', '-d', '--pull', 'never', '--force-recreate', 'appliance']);
    await appliance.untilReady();
    expect(await reads('/closed')).toBe(false);
    const watch = startWatch();
    try {
      await until('watch connects the new one', () => reads('/anew'));
      await until('who asks is known again', async () => {
        await victim.exec(['dig', '+short', `again.${NAMED}`]);
        return (await askersOf(`again.${NAMED}`)).includes('iso-victim');
      });
    } finally {
      watch.kill('SIGKILL');
    }
    expect(await contactsAbout(`http://${READ}/closed`)).toEqual([]);
  });
});
