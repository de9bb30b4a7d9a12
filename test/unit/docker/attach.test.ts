import { describe, expect, it } from 'vitest';
import { findAppliance } from '../../../src/docker/appliance.ts';
import { attach } from '../../../src/docker/attach.ts';
import { fingerprintOf } from '../../../src/docker/certificate-text.ts';
import { detach } from '../../../src/docker/detach.ts';
import { DockerFailure } from '../../../src/docker/failure.ts';
import { recreate } from '../../../src/docker/recreate.ts';
import { silentSteps } from '../../../src/docker/steps.ts';
import { testCa } from '../../kit/pki.ts';
import { FakeEngine } from './fake-engine.ts';
import { APPLIANCE_ADDRESS, FakeContainer, FakeWorld, HOST_RESOLVER } from './fake-world.ts';

const CA = testCa('Outcall test CA').certPem;
const ROOTS = testCa('A public root').certPem;
const SYSTEM_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';
const CERTIFI = '/usr/lib/python3/certifi/cacert.pem';
const OPTIONS = { network: 'outcall' };

function debian(fields: ConstructorParameters<typeof FakeContainer>[1] = {}): FakeContainer {
  const container = new FakeContainer('web', { Image: 'debian:bookworm-slim', Labels: { team: 'a' }, ...fields });
  container.files.set('/etc/debian_version', '12.1\n');
  container.files.set(SYSTEM_BUNDLE, ROOTS);
  container.files.set(CERTIFI, ROOTS);
  return container;
}

const NETWORKS = { bridge: {}, backend: { IPAMConfig: { IPv4Address: '172.30.0.9' }, Aliases: ['db'] } };

function scene(fields: ConstructorParameters<typeof FakeContainer>[1] = {}, caPem: string | undefined = CA): FakeWorld {
  const world = new FakeWorld(caPem);
  world.addNetwork('backend', {});
  world.add(debian(fields), NETWORKS);
  return world;
}

async function attachIn(fake: FakeEngine) {
  return attach(fake.engine, await findAppliance(fake.engine, OPTIONS), 'web', silentSteps);
}

async function failureOf(work: Promise<unknown>): Promise<DockerFailure> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof DockerFailure)) throw new Error(`no DockerFailure but ${String(error)}`);
  return error;
}

describe('outcall attach', () => {
  it('leaves the container on our network alone, with our resolver, and known to the appliance by name', async () => {
    const world = scene();
    await using fake = await FakeEngine.start(world);
    const attached = await attachIn(fake);
    const web = world.find('web') as FakeContainer;
    expect([...web.networks.keys()]).toEqual(['outcall']);
    expect(web.files.get('/etc/resolv.conf')).toContain(`nameserver ${APPLIANCE_ADDRESS}\n`);
    expect(web.files.get('/etc/resolv.conf')).not.toContain(HOST_RESOLVER);
    expect([...world.agents.values()]).toEqual([
      {
        id: web.id,
        name: 'web',
        image: 'debian:bookworm-slim',
        labels: { team: 'a' },
        ip: attached.address,
        fixed: true,
        trusts: [fingerprintOf(CA)],
      },
    ]);
    expect(attached).toMatchObject({ again: false, left: ['bridge', 'backend'], network: 'outcall' });
    expect(attached.checks.every(({ ok }) => ok)).toBe(true);
    expect(world.containers.filter(({ labels }) => labels['outcall.role'] === 'helper')).toEqual([]);
  });

  it('leaves the other networks before it does anything to the files of the container', async () => {
    await using fake = await FakeEngine.start(scene());
    await attachIn(fake);
    const left = fake.changes.indexOf('POST /networks/backend/disconnect');
    const written = fake.changes.findIndex((change) => change.startsWith('PUT '));
    expect(left).toBeGreaterThan(-1);
    expect(written).toBeGreaterThan(left);
  });

  it('puts the CA into every bundle that is there, and writes one of all roots and the CA', async () => {
    const world = scene();
    await using fake = await FakeEngine.start(world);
    const { trust } = await attachIn(fake);
    const { files } = world.find('web') as FakeContainer;
    for (const file of [SYSTEM_BUNDLE, CERTIFI, '/etc/outcall/trust/bundle.crt']) {
      expect(files.get(file)).toContain(CA.trim());
      expect(files.get(file)).toContain(ROOTS.trim());
    }
    expect(files.get('/etc/outcall/trust/ca.crt')).toBe(CA);
    expect(trust?.stores.map(({ kind, result }) => `${kind} ${result}`)).toEqual([
      'system added',
      'bundle added',
      'python added',
    ]);
    expect(trust?.variables.map(({ name }) => name)).toContain('NODE_EXTRA_CA_CERTS');
  });

  it('installs each certificate of the bundle while the CA is replaced, and takes away those that are no more', async () => {
    const world = scene();
    await using fake = await FakeEngine.start(world);
    const { files } = world.find('web') as FakeContainer;
    const next = testCa('Outcall next CA').certPem;
    const where = [SYSTEM_BUNDLE, CERTIFI, '/etc/outcall/trust/bundle.crt'];
    const holding = (pem: string) => where.filter((file) => files.get(file)?.includes(pem.trim()) === true);
    const anchors = () =>
      [...files.keys()].filter((file) => file.startsWith('/usr/local/share/ca-certificates/')).length;
    const before = files.get(CERTIFI);
    for (const [bundle, has, hasNext, count] of [
      [CA, where, [], 1],
      [CA + next, where, where, 2],
      [next, [], where, 1],
    ] as const) {
      world.caPem = bundle;
      await attachIn(fake);
      expect([holding(CA), holding(next), anchors()]).toEqual([has, hasNext, count]);
      expect(files.get('/etc/outcall/trust/ca.crt')).toBe(bundle);
      const certificates = bundle.split(/(?<=-----END CERTIFICATE-----\n)/);
      expect([...world.agents.values()].map(({ trusts }) => trusts)).toEqual([certificates.map(fingerprintOf)]);
    }
    world.caPem = undefined;
    expect((await attachIn(fake)).trust).toBeUndefined();
    expect([anchors(), files.get(CERTIFI), files.has('/etc/outcall/trust/ca.crt')]).toEqual([0, before, false]);
  });

  it('given twice changes nothing the second time but what it looks with', async () => {
    const world = scene();
    await using fake = await FakeEngine.start(world);
    await attachIn(fake);
    const once = JSON.stringify(world.find('web')?.snapshot());
    fake.changes.length = 0;
    expect(await attachIn(fake)).toMatchObject({ again: true, left: [] });
    expect(JSON.stringify(world.find('web')?.snapshot())).toBe(once);
    expect(fake.changes.filter((change) => change.includes('/networks/'))).toEqual([]);
  });

  it('takes back everything, whichever of its changes the engine refuses', async () => {
    const counting = scene();
    await using counted = await FakeEngine.start(counting);
    await attachIn(counted);
    const total = counted.changes.length;
    expect(total).toBeGreaterThan(10);
    for (let refused = 0; refused < total; refused++) {
      const world = scene();
      const before = JSON.stringify(world.find('web')?.snapshot());
      await using fake = await FakeEngine.start(world);
      fake.refuse = refused;
      const failure = await failureOf(attachIn(fake));
      expect.soft(failure.message, fake.changes[refused]).toContain('the engine has had enough');
      expect.soft(sorted(world.find('web')?.snapshot()), fake.changes[refused]).toEqual(sorted(JSON.parse(before)));
      expect.soft(world.agents.size).toBe(0);
    }
  });

  it.each([
    ['a default route', { defaultRoutes: ['eth0'] }, 'there is no route out: eth0'],
    ['an engine whose resolver asks outside', { engineResolver: 'another' }, 'engine’s own resolver'],
    ['somebody else who answers for names', { resolver: 'another' }, 'the appliance answers for names'],
    ['an answer from the host', { reached: ['10.203.0.1:22'] }, 'nothing else can be reached: 10.203.0.1:22'],
    ['a second address', { addresses: ['172.17.0.5/16'] }, 'all addresses are of the agents’ network'],
    ['a second resolver', { nameservers: [APPLIANCE_ADDRESS, '8.8.8.8'] }, 'no other resolver is set: 8.8.8.8'],
    ['a proxy that is away', { proxyAnswers: false }, 'the proxy answers'],
  ] as const)('sees %s from inside, says so and takes back everything', async (_what, findings, words) => {
    const world = scene();
    const before = JSON.stringify(world.find('web')?.snapshot());
    await using fake = await FakeEngine.start(world);
    world.findings = findings;
    const failure = await failureOf(attachIn(fake));
    expect(failure.kind).toBe('unverified');
    expect(failure.message).toContain(words);
    expect(sorted(world.find('web')?.snapshot())).toEqual(sorted(JSON.parse(before)));
    world.findings = {};
    expect((await attachIn(fake)).again).toBe(false);
  });

  it('keeps one that was locked locked when a second look fails', async () => {
    const world = scene();
    await using fake = await FakeEngine.start(world);
    await attachIn(fake);
    world.connect(world.find('web') as FakeContainer, 'bridge', {});
    world.findings = { proxyAnswers: false };
    await failureOf(attachIn(fake));
    expect([...(world.find('web')?.networks.keys() ?? [])]).toEqual(['outcall']);
  });

  it('changes nothing of a container that cannot be locked, and names each obstacle with what to change', async () => {
    const hostConfig = { CapAdd: ['CAP_NET_ADMIN'], PidMode: 'host' };
    const world = scene({ HostConfig: hostConfig });
    await using fake = await FakeEngine.start(world);
    const failure = await failureOf(attachIn(fake));
    expect(failure.kind).toBe('refused');
    expect(failure.message).toMatch(/capability NET_ADMIN.*\n.*pid: host/);
    expect(failure.remedies).toEqual(['remove NET_ADMIN from cap_add', 'remove pid: host']);
    expect(fake.changes).toEqual([]);
  });

  it('refuses one whose network another container shares with NET_ADMIN, and attaches it without that one', async () => {
    const world = scene();
    const sharing = new FakeContainer('sidecar', {
      HostConfig: { NetworkMode: `container:${world.find('web')?.id}`, CapAdd: ['NET_ADMIN'] },
    });
    world.add(sharing, {});
    await using fake = await FakeEngine.start(world);
    expect((await failureOf(attachIn(fake))).message).toContain('capability NET_ADMIN of sidecar');
    sharing.running = false;
    expect((await attachIn(fake)).name).toBe('web');
  });

  it('locks a read-only container without touching its files, and says that its trust must come by mounts', async () => {
    const world = scene({ HostConfig: { ReadonlyRootfs: true } });
    await using fake = await FakeEngine.start(world);
    const { trust } = await attachIn(fake);
    expect(trust?.skipped).toContain('read-only');
    expect(fake.changes.filter((change) => change.startsWith('PUT'))).toEqual([]);
    expect([...(world.find('web')?.networks.keys() ?? [])]).toEqual(['outcall']);
  });

  it('locks without any trust where the appliance has no CA', async () => {
    const world = new FakeWorld();
    world.add(debian());
    await using fake = await FakeEngine.start(world);
    expect((await attachIn(fake)).trust).toBeUndefined();
    expect(world.find('web')?.files.get(SYSTEM_BUNDLE)).toBe(ROOTS);
  });

  it('gives a container the same address again after it was detached, and two containers two addresses', async () => {
    const world = scene();
    world.add(new FakeContainer('other', {}));
    await using fake = await FakeEngine.start(world);
    const appliance = await findAppliance(fake.engine, OPTIONS);
    const first = await attachIn(fake);
    const other = await attach(fake.engine, appliance, 'other', silentSteps);
    expect(other.address).not.toBe(first.address);
    await detach(fake.engine, appliance, 'web', silentSteps);
    expect((await attachIn(fake)).address).toBe(first.address);
  });
});

describe('outcall detach', () => {
  it('gives back networks with their addresses and names, resolver and every file, byte for byte', async () => {
    const world = scene();
    const before = JSON.stringify(world.find('web')?.snapshot());
    await using fake = await FakeEngine.start(world);
    await attachIn(fake);
    expect(JSON.stringify(world.find('web')?.snapshot())).not.toBe(before);
    const detached = await detach(fake.engine, await findAppliance(fake.engine, OPTIONS), 'web', silentSteps);
    expect(detached.problems).toEqual([]);
    expect(sorted(world.find('web')?.snapshot())).toEqual(sorted(JSON.parse(before)));
    expect(world.agents.size).toBe(0);
  });

  it('gives back what it can where a network is gone, and says what it could not', async () => {
    const world = scene();
    await using fake = await FakeEngine.start(world);
    await attachIn(fake);
    world.networks.delete('backend');
    const detached = await detach(fake.engine, await findAppliance(fake.engine, OPTIONS), 'web', silentSteps);
    expect(detached.problems).toEqual([expect.stringContaining('network backend')]);
    expect([...(world.find('web')?.networks.keys() ?? [])]).toEqual(['bridge']);
    expect(world.find('web')?.files.get('/etc/resolv.conf')).toContain(HOST_RESOLVER);
  });

  it('refuses a container that is not attached', async () => {
    await using fake = await FakeEngine.start(scene());
    const appliance = await findAppliance(fake.engine, OPTIONS);
    expect((await failureOf(detach(fake.engine, appliance, 'web', silentSteps))).kind).toBe('absent');
    expect(fake.changes).toEqual([]);
  });
});

describe('outcall attach --recreate', () => {
  it('makes a copy on our network alone with our DNS, trust volume and variables, and keeps the old one stopped', async () => {
    const world = scene({ Env: ['A=b', 'SSL_CERT_FILE=/mine'] });
    await using fake = await FakeEngine.start(world);
    await recreate(fake.engine, await findAppliance(fake.engine, OPTIONS), 'web', silentSteps);
    const copy = world.find('web') as FakeContainer;
    expect([...copy.networks.keys()]).toEqual(['outcall']);
    expect(copy.spec.HostConfig).toMatchObject({
      NetworkMode: 'outcall',
      Dns: [APPLIANCE_ADDRESS],
      CapDrop: ['NET_RAW'],
    });
    expect(copy.spec.HostConfig?.['Binds']).toEqual(['outcall-trust:/etc/outcall/trust:ro']);
    expect(copy.spec.Env).toEqual(expect.arrayContaining(['A=b', 'SSL_CERT_FILE=/mine']));
    expect(copy.spec.Env).toContain('NODE_EXTRA_CA_CERTS=/etc/outcall/trust/ca.crt');
    expect(world.find('web-before-outcall')?.running).toBe(false);
  });

  it('brings the old one back under its name, running, whichever of its changes the engine refuses', async () => {
    const counting = scene();
    await using counted = await FakeEngine.start(counting);
    await recreate(counted.engine, await findAppliance(counted.engine, OPTIONS), 'web', silentSteps);
    for (let refused = 0; refused < counted.changes.length; refused++) {
      const world = scene();
      const old = world.find('web') as FakeContainer;
      const before = JSON.stringify(old.snapshot());
      await using fake = await FakeEngine.start(world);
      fake.refuse = refused;
      await failureOf(recreate(fake.engine, await findAppliance(fake.engine, OPTIONS), 'web', silentSteps));
      expect.soft(JSON.stringify(old.snapshot()), fake.changes[refused]).toBe(before);
      const kept = world.containers.map(({ name }) => name).filter((name) => !name.startsWith('helper-'));
      expect.soft(kept.sort(), fake.changes[refused]).toEqual(['appliance', 'web']);
    }
  });

  it('is undone by detach: the old one runs again, and the copy stays, stopped, under another name', async () => {
    const world = scene();
    const old = world.find('web') as FakeContainer;
    old.restart = { Name: 'always' };
    const before = JSON.stringify(old.snapshot());
    await using fake = await FakeEngine.start(world);
    const appliance = await findAppliance(fake.engine, OPTIONS);
    const { id } = await recreate(fake.engine, appliance, 'web', silentSteps);
    expect(old.restart).toEqual({ Name: 'no' });
    await detach(fake.engine, appliance, 'web', silentSteps);
    expect(JSON.stringify(old.snapshot())).toBe(before);
    expect(world.find(id)).toMatchObject({ running: false, name: expect.stringMatching(/^web-outcall-/) });
  });

  it('refuses one that would be gone when it is stopped, and one that is attached', async () => {
    const world = scene({ HostConfig: { AutoRemove: true } });
    await using fake = await FakeEngine.start(world);
    const appliance = await findAppliance(fake.engine, OPTIONS);
    expect((await failureOf(recreate(fake.engine, appliance, 'web', silentSteps))).message).toContain('--rm');
    await attachIn(fake);
    fake.changes.length = 0;
    expect((await failureOf(recreate(fake.engine, appliance, 'web', silentSteps))).message).toContain(
      'attached already',
    );
    expect(fake.changes).toEqual([]);
  });
});

/** Networks in any order: a map of them has none. */
function sorted(snapshot: unknown): unknown {
  const { networks, ...rest } = snapshot as { networks: Record<string, object> };
  return { ...rest, networks: Object.fromEntries(Object.entries(networks).sort(([a], [b]) => (a < b ? -1 : 1))) };
}
