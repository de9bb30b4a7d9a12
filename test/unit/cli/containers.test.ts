import { afterEach, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { testCa } from '../../kit/pki.ts';
import { FakeEngine } from '../docker/fake-engine.ts';
import { FakeContainer, FakeWorld } from '../docker/fake-world.ts';
import { FakeDaemon } from './fake-daemon.ts';
import { runCli } from './run-cli.ts';

async function scene(): Promise<FakeEngine> {
  const world = new FakeWorld(testCa().certPem);
  world.add(new FakeContainer('web', { Image: 'debian' }));
  const fake = await FakeEngine.start(world);
  vi.stubEnv('DOCKER_HOST', `unix://${fake.socketPath}`);
  return fake;
}

afterEach(() => vi.unstubAllEnvs());

describe('outcall attach, ps and detach', () => {
  it('say in words what they did and what is left, and end with 0', async () => {
    await using _ = await scene();
    const attached = await runCli('attach', 'web');
    expect(attached.code, attached.err).toBe(0);
    expect(attached.out).toMatch(
      /^web is locked to network outcall as 10\.203\.\d+\.\d+\n {2}warning: capability NET_RAW/,
    );
    expect(attached.out).toContain('NODE_EXTRA_CA_CERTS=/etc/outcall/trust/ca.crt');
    expect(attached.err.split('\n').filter((line) => line.startsWith('  ok  '))).toHaveLength(6);
    expect((await runCli('ps')).out).toMatch(
      /^NAME +IMAGE +ADDRESS +STATE +PROBLEMS\nweb +debian +10\.203\.\S+ +locked +-\n$/,
    );
    expect(await runCli('detach', 'web')).toMatchObject({ code: 0, out: 'web is detached; its networks: bridge\n' });
    expect((await runCli('ps')).out).toContain('There are no agents.');
  });

  it('print one JSON object with --json and nothing beside it', async () => {
    await using _ = await scene();
    const { out, err } = await runCli('attach', '--json', 'web');
    expect(err).toBe('');
    expect(JSON.parse(out)).toMatchObject({
      name: 'web',
      network: 'outcall',
      left: ['bridge'],
      checks: expect.anything(),
    });
    expect(JSON.parse((await runCli('ps', '--json')).out)).toMatchObject({
      agents: [{ name: 'web', state: 'locked' }],
    });
    expect(JSON.parse((await runCli('detach', '--json', 'web')).out)).toMatchObject({
      networks: ['bridge'],
      problems: [],
    });
  });

  it('attach goes on with the others where one cannot be locked, and ends with 1', async () => {
    await using fake = await scene();
    fake.world.add(new FakeContainer('root', { HostConfig: { Privileged: true } }));
    const { code, out, err } = await runCli('attach', 'root', 'web');
    expect(code).toBe(1);
    expect(out).toContain('web is locked');
    expect(err).toContain('outcall: root cannot be locked:\n  privileged:');
    expect(err).toContain('-> remove privileged: true');
  });

  it('ps ends with 1 where a container has a way round', async () => {
    await using fake = await scene();
    await runCli('attach', 'web');
    fake.world.connect(fake.world.find('web') as FakeContainer, 'bridge', {});
    expect(await runCli('ps')).toMatchObject({
      code: 1,
      out: expect.stringContaining('also on network bridge'),
      err: 'outcall: not locked: web\n',
    });
  });

  it.each([['attach'], ['detach']])('%s ends with 6 where there is no such container', async (command) => {
    await using _ = await scene();
    expect(await runCli(command, 'nobody')).toMatchObject({
      code: 6,
      err: expect.stringContaining('no container nobody'),
    });
  });

  it('say what to do where there is no engine, no network and no appliance', async () => {
    vi.stubEnv('DOCKER_HOST', 'unix:///nonexistent/docker.sock');
    expect(await runCli('ps')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no Docker Engine answers (ENOENT)'),
    });
    await using fake = await scene();
    expect((await runCli('ps', '--network', 'other')).err).toMatch(
      /there is no network other\n {2}-> docker compose up -d/,
    );
    (fake.world.find('appliance') as FakeContainer).running = false;
    expect((await runCli('ps')).err).toContain('no appliance runs');
    fake.world.addNetwork('outcall', { Internal: false });
    expect((await runCli('ps')).err).toContain('does not lock anybody in: it is not internal');
  });
});

describe('outcall compose', () => {
  it('prints a compose file of its own: our network alone, our DNS, no raw sockets, trust by volume and variables', async () => {
    const { code, out } = await runCli('compose', 'worker', '--address', '10.9.0.2');
    expect(code).toBe(0);
    const { services, networks, volumes } = parse(out) as Record<string, Record<string, Record<string, unknown>>>;
    expect(services?.['worker']).toMatchObject({
      networks: ['outcall'],
      dns: ['10.9.0.2'],
      cap_drop: ['NET_RAW'],
      volumes: ['outcall-trust:/etc/outcall/trust:ro'],
      environment: { NODE_EXTRA_CA_CERTS: '/etc/outcall/trust/ca.crt', SSL_CERT_FILE: '/etc/outcall/trust/bundle.crt' },
    });
    expect(networks?.['outcall']).toEqual({ name: 'outcall', external: true });
    expect(volumes?.['outcall-trust']).toEqual({ external: true });
  });
});

describe('outcall admin', () => {
  it('prints the answer as it came, and ends with 6 where there is none', async () => {
    await using daemon = await FakeDaemon.start({ 'GET /v1/agents': { body: { agents: [] } } });
    const ask = (path: string) => runCli('admin', 'GET', path, '--admin-socket', daemon.socketPath);
    expect(await ask('/v1/agents')).toEqual({ code: 0, out: '{"agents":[]}\n', err: '' });
    expect((await ask('/v1/nothing')).code).toBe(6);
  });
});
