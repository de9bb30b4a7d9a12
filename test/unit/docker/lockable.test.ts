import { describe, expect, it } from 'vitest';
import { type ContainerView, containerView, type Inspection } from '../../../src/docker/container-view.ts';
import { isRefusal, obstacles } from '../../../src/docker/lockable.ts';

type HostConfig = Inspection['HostConfig'];
type Mount = NonNullable<Inspection['Mounts']>[number];

function view(hostConfig: HostConfig = {}, mounts: readonly Mount[] = []): ContainerView {
  return containerView({
    Id: 'f'.repeat(64),
    Name: '/web',
    Image: 'sha256:x',
    State: { Running: true },
    Config: { Image: 'debian' },
    HostConfig: { CapDrop: ['NET_RAW'], ...hostConfig },
    Mounts: mounts,
    NetworkSettings: { Networks: {} },
  });
}

function bind(Source: string, RW = true, Destination = '/there'): Mount {
  return { Type: 'bind', Source, Destination, RW };
}

function refusals(container: ContainerView): readonly string[] {
  return obstacles(container)
    .filter(isRefusal)
    .map(({ what }) => what);
}

describe('which containers can be locked', () => {
  it('an ordinary one that dropped NET_RAW has no obstacle at all', () => {
    expect(obstacles(view())).toEqual([]);
  });

  it.each<[string, HostConfig, HostConfig]>([
    ['privileged', { Privileged: true }, { Privileged: false }],
    ['capability NET_ADMIN', { CapAdd: ['NET_ADMIN'] }, { CapAdd: ['NET_BIND_SERVICE'] }],
    ['capability NET_ADMIN', { CapAdd: ['CAP_NET_ADMIN'] }, { CapAdd: ['CAP_CHOWN'] }],
    ['capability NET_ADMIN', { CapAdd: ['net_admin'], CapDrop: ['ALL'] }, { CapDrop: ['ALL'] }],
    ['capability SYS_ADMIN', { CapAdd: ['SYS_ADMIN'] }, { CapAdd: ['SYS_PTRACE'] }],
    ['capability SYS_MODULE', { CapAdd: ['SYS_MODULE'] }, { CapAdd: ['SYS_NICE'] }],
    ['capability SYS_RAWIO', { CapAdd: ['SYS_RAWIO'] }, { CapAdd: ['IPC_LOCK'] }],
    ['capability DAC_READ_SEARCH', { CapAdd: ['DAC_READ_SEARCH'] }, { CapAdd: ['DAC_OVERRIDE'] }],
    ['network_mode: host', { NetworkMode: 'host' }, { NetworkMode: 'hosting' }],
    ['network_mode: container:db', { NetworkMode: 'container:db' }, { NetworkMode: 'bridge' }],
    ['network_mode: none', { NetworkMode: 'none' }, { NetworkMode: 'default' }],
    ['pid: host', { PidMode: 'host' }, { PidMode: '' }],
    ['pid: container:db', { PidMode: 'container:db' }, { PidMode: 'private' }],
    [
      'device /dev/net/tun',
      { Devices: [{ PathOnHost: '/dev/net/tun' }] },
      { Devices: [{ PathOnHost: '/dev/dri/card0' }] },
    ],
    ['device /dev/sda', { Devices: [{ PathOnHost: '/dev/sda' }] }, { Devices: [{ PathOnHost: '/dev/nvidia0' }] }],
    ['device rule "c 1:1 rwm"', { DeviceCgroupRules: ['c 1:1 rwm'] }, { DeviceCgroupRules: [] }],
  ])('refuses %s, and not its harmless twin', (what, refused, harmless) => {
    expect(refusals(view(refused))).toContain(what);
    expect(refusals(view({ CapDrop: ['NET_RAW'], ...harmless }))).toEqual([]);
  });

  it('refuses every capability that ALL brings, but those that are dropped again', () => {
    const all = refusals(view({ CapAdd: ['ALL'], CapDrop: [] }));
    expect(all).toEqual(expect.arrayContaining(['capability NET_ADMIN', 'capability SYS_ADMIN', 'capability BPF']));
    expect(refusals(view({ CapAdd: ['ALL'], CapDrop: ['NET_ADMIN'] }))).toHaveLength(all.length - 1);
  });

  it.each([
    ['/var/run/docker.sock', '/home/me/docker.sock.d'],
    ['/run/containerd/containerd.sock', '/srv/containerd'],
    ['/', '/srv'],
    ['/var/run', '/var/running'],
    ['/run/', '/srv/run'],
    ['/run/user/1000', '/home/1000'],
    ['/var', '/var/log'],
    ['/var/lib/docker/volumes', '/var/lib/dockerish'],
  ])('refuses a mount of %s even read-only, and not of %s', (refused, harmless) => {
    expect(refusals(view({}, [bind(refused, false)]))).toHaveLength(1);
    expect(refusals(view({}, [bind(harmless, true)]))).toEqual([]);
  });

  it.each(['/proc', '/sys', '/sys/fs/cgroup', '/proc/sys', '/dev', '/etc', '/usr'])(
    'refuses a writable mount of %s, and warns of a read-only one',
    (source) => {
      expect(refusals(view({}, [bind(source, true)]))).toHaveLength(1);
      expect(obstacles(view({}, [bind(source, false)]))).toMatchObject([{ severity: 'warn' }]);
    },
  );

  it('knows the engine’s socket by where it is mounted too, and takes a volume of any name for a volume', () => {
    expect(refusals(view({}, [bind('/srv/other', true, '/var/run/docker.sock')]))).toHaveLength(1);
    const volume = { Type: 'volume', Source: '/var/lib/docker/volumes/x/_data', Destination: '/var/run', RW: true };
    expect(obstacles(view({}, [volume]))).toEqual([]);
  });

  it('warns of NET_RAW, which is there unless it is dropped, of other sockets of the host, and of barriers that are off', () => {
    expect(obstacles(view({ CapDrop: [] }))).toMatchObject([{ severity: 'warn', what: 'capability NET_RAW' }]);
    expect(obstacles(view({ CapDrop: ['ALL'] }))).toEqual([]);
    expect(obstacles(view({ CapDrop: ['ALL'], CapAdd: ['NET_RAW'] }))).toMatchObject([{ severity: 'warn' }]);
    expect(obstacles(view({}, [bind('/run/ssh-agent.sock')]))).toMatchObject([{ severity: 'warn' }]);
    expect(obstacles(view({ SecurityOpt: ['seccomp=unconfined'] }))).toMatchObject([{ severity: 'warn' }]);
  });

  it('refuses for what a companion can do: change the shared network, or be taken over through shared processes', () => {
    const web = view();
    const strong = { name: 'side', container: view({ NetworkMode: 'container:web', CapAdd: ['NET_ADMIN'] }) };
    const weak = { name: 'side', container: view({ NetworkMode: 'container:web' }) };
    expect(obstacles(web, [{ ...strong, shares: 'network' }]).filter(isRefusal)).toMatchObject([
      {
        what: 'capability NET_ADMIN of side, which shares this network',
        change: 'in side: remove NET_ADMIN from cap_add',
      },
    ]);
    expect(obstacles(web, [{ ...weak, shares: 'network' }])).toEqual([]);
    expect(obstacles(web, [{ ...weak, shares: 'processes' }]).filter(isRefusal)).toHaveLength(1);
  });
});
