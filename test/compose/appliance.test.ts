/** The image as Compose runs it: healthy, small in what it may do, and its CA where only the signer reads it. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Appliance, startAppliance, until } from './kit/appliance.ts';
import { describeOnEngine, docker } from './kit/lab.ts';

const RULES = 'version: "1"\nrules: []\n';

describeOnEngine('the appliance', () => {
  let appliance: Appliance;

  beforeAll(async () => {
    appliance = await startAppliance({ rules: RULES });
  });
  afterAll(async () => appliance?.[Symbol.asyncDispose]());

  it('is healthy to the engine once the daemon is ready', async () => {
    await until('healthy', async () => (await appliance.health()) === 'healthy');
    expect((await appliance.status())?.state).toBe('ready');
  });

  it('has the capabilities that compose/appliance.yaml names and no other, and a root filesystem nobody can write', async () => {
    const { stdout } = await appliance.exec(['sed', '-n', 's/^CapBnd:\\t//p', '/proc/1/status']);
    // kill 5, setgid 6, setuid 7, net_bind_service 10, net_admin 12: capability.h
    expect(BigInt(`0x${stdout.trim()}`)).toBe((1n << 5n) | (1n << 6n) | (1n << 7n) | (1n << 10n) | (1n << 12n));
    const written = await appliance.exec(['touch', '/opt/outcall/new']);
    expect(written.stderr).toContain('Read-only file system');
    expect((await appliance.exec(['touch', '/run/outcall/new'])).code).toBe(0);
  });

  it('is on the agents’ network under its fixed address and MAC, and that network leads nowhere', async () => {
    const { stdout } = await appliance.exec(['ip', '-json', 'address']);
    const links = JSON.parse(stdout) as { address: string; addr_info: { local: string; family: string }[] }[];
    const ours = links.find(({ addr_info }) => addr_info.some(({ local }) => local === '10.203.0.2'));
    expect(ours?.address).toBe('02:42:0a:cb:00:02');
    expect(links.flatMap(({ addr_info }) => addr_info).filter(({ family }) => family === 'inet6')).toEqual([]);
    expect(await docker(['network', 'inspect', '-f', '{{.Internal}}', 'outcall'])).toBe('true');
  });

  it('keeps the CA key where agents cannot have it, owned by the signer, and gives them the certificate', async () => {
    const key = await appliance.exec(['stat', '-c', '%U %a', '/etc/outcall/ca/ca.key']);
    expect(key.stdout.trim()).toBe('outcall-signer 600');
    const trusted = await docker([
      'run',
      '--rm',
      '--network',
      'none',
      '--volume',
      'outcall-trust:/trust',
      'outcall-agent',
      'ls',
      '/trust',
    ]);
    expect(trusted.split('\n')).toEqual(['bundle.crt', 'ca.crt']);
  });

  it('replaces its CA while it runs: who mounts the volume trusts both in between, and the signer alone can write it', async () => {
    const outcall = async (...args: readonly string[]) =>
      expect((await appliance.exec(['outcall', 'ca', ...args])).code).toBe(0);
    const trusted = async () =>
      (await appliance.exec(['grep', '-c', 'BEGIN', '/etc/outcall/trust/ca.crt'])).stdout.trim();
    const before = await appliance.exec(['cat', '/etc/outcall/trust/ca.crt']);
    await outcall('generate', '--algorithm', 'ecdsa');
    expect(await trusted()).toBe('2');
    await outcall('rotate');
    await outcall('delete', 'previous');
    expect(await trusted()).toBe('1');
    expect((await appliance.exec(['cat', '/etc/outcall/trust/ca.crt'])).stdout).not.toBe(before.stdout);
    const key = await appliance.exec(['stat', '-c', '%U %a', '/etc/outcall/ca/ca.key']);
    expect(key.stdout.trim()).toBe('outcall-signer 600');
    for (const folder of ['/etc/outcall/ca', '/etc/outcall/trust']) {
      expect((await appliance.exec(['touch', `${folder}/new`])).stderr).toContain('Permission denied');
    }
  });
});
