/**
 * What a fake engine has: an appliance on a closed network, and a container to be attached. Programs inside do what the
 * tests need of them and no more.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import type { InspectedEndpoint, Inspection } from '../../../src/docker/container-view.ts';
import type { ProbeFindings } from '../../../src/docker/probe.ts';
import { nameservers } from '../../../src/docker/resolv-conf.ts';
import type { AgentEntry } from '../../../src/domain/admin-api.ts';

export const APPLIANCE_ADDRESS = '10.203.0.2';
export const HOST_RESOLVER = '192.168.1.1';

export interface Output {
  readonly code?: number;
  readonly out?: string;
  readonly err?: string;
}

export interface FakeNetwork {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Internal: boolean;
  readonly Options: Readonly<Record<string, string>>;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly IPAM: { readonly Config: readonly { readonly Subnet?: string; readonly IPRange?: string }[] };
}

interface Spec {
  readonly Image?: string;
  readonly Env?: readonly string[];
  readonly Labels?: Readonly<Record<string, string>>;
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly HostConfig?: Readonly<Record<string, unknown>>;
  readonly NetworkingConfig?: { readonly EndpointsConfig: Readonly<Record<string, object>> };
}

export class FakeContainer {
  name: string;
  readonly id: string;
  readonly spec: Spec;
  readonly networks = new Map<string, object>();
  readonly files = new Map<string, string>();
  readonly labels: Readonly<Record<string, string>>;
  running = false;
  restart: object = { Name: 'no' };
  exitCode = 0;

  constructor(name: string, spec: Spec = {}) {
    this.name = name;
    this.spec = spec;
    this.id = createHash('sha256')
      .update(`${name}${JSON.stringify(spec)}`)
      .digest('hex');
    this.labels = spec.Labels ?? {};
    for (const [network, settings] of Object.entries(spec.NetworkingConfig?.EndpointsConfig ?? {})) {
      this.networks.set(network, settings);
    }
  }

  get readOnly(): boolean {
    return this.spec.HostConfig?.['ReadonlyRootfs'] === true;
  }

  hasFolder(place: string): boolean {
    return place === '/' || [...this.files.keys()].some((file) => file.startsWith(`${place}/`));
  }

  inspection(world: FakeWorld): Inspection {
    return {
      Id: this.id,
      Name: `/${this.name}`,
      Image: 'sha256:image',
      State: { Running: this.running },
      Config: { Image: this.spec.Image ?? 'image', Labels: this.labels, Env: this.spec.Env ?? [] },
      HostConfig: {
        NetworkMode: 'bridge',
        RestartPolicy: this.restart,
        ...this.spec.HostConfig,
      } as Inspection['HostConfig'],
      Mounts: (this.spec.HostConfig?.['FakeMounts'] ?? []) as NonNullable<Inspection['Mounts']>,
      NetworkSettings: { Networks: this.#endpoints(world) },
    };
  }

  listed(world: FakeWorld): object {
    const HostConfig = { NetworkMode: this.spec.HostConfig?.['NetworkMode'] ?? 'bridge' };
    const NetworkSettings = { Networks: this.#endpoints(world) };
    const State = this.running ? 'running' : 'exited';
    return { Id: this.id, Names: [`/${this.name}`], State, Labels: this.labels, HostConfig, NetworkSettings };
  }

  /** What a test compares: everything of it that attach may change. */
  snapshot(): object {
    const files = Object.fromEntries([...this.files].sort(([a], [b]) => (a < b ? -1 : 1)));
    return {
      name: this.name,
      running: this.running,
      restart: this.restart,
      networks: Object.fromEntries(this.networks),
      files,
    };
  }

  #endpoints(world: FakeWorld): Record<string, InspectedEndpoint> {
    return Object.fromEntries(
      [...this.networks].map(([name, settings]) => {
        const { IPAMConfig } = settings as InspectedEndpoint;
        const IPAddress = this.running ? (IPAMConfig?.IPv4Address ?? `172.17.0.${this.networks.size + 1}`) : '';
        return [name, { NetworkID: world.networks.get(name)?.Id ?? '', IPAddress, ...settings }];
      }),
    );
  }
}

export class FakeWorld {
  readonly networks = new Map<string, FakeNetwork>();
  readonly containers: FakeContainer[] = [];
  readonly volumes = new Set(['outcall-trust']);
  /** What the appliance was told. */
  readonly agents = new Map<string, AgentEntry>();
  /** What agents are to trust. */
  caPem: string | undefined;
  /** What the probe finds in place of what follows from the networks. */
  findings: Partial<ProbeFindings> = {};
  /** --isolated of the appliance. */
  isolatedRange: string | undefined = '10.204.0.0/14';
  onListening: (() => void) | undefined;

  constructor(caPem?: string) {
    this.caPem = caPem;
    this.addNetwork('bridge', { Internal: false });
    this.addNetwork('outcall', {
      Internal: true,
      Options: { 'com.docker.network.bridge.inhibit_ipv4': 'true' },
      IPAM: { Config: [{ Subnet: '10.203.0.0/16', IPRange: '10.203.64.0/18' }] },
    });
    this.add(new FakeContainer('appliance', { Labels: { 'outcall.role': 'appliance' } }), {
      outcall: { IPAMConfig: { IPv4Address: APPLIANCE_ADDRESS } },
    });
  }

  addNetwork(name: string, fields: Partial<FakeNetwork>): void {
    const network = {
      Id: `id-${name}`,
      Name: name,
      Driver: 'bridge',
      Internal: false,
      Options: {},
      IPAM: { Config: [] },
    };
    this.networks.set(name, { ...network, ...fields });
  }

  removeNetwork(name: string): void {
    if (this.containers.some(({ running, networks }) => running && networks.has(name))) {
      throw new Error(`network ${name} has active endpoints`);
    }
    this.networks.delete(name);
  }

  /** Running, on these networks. */
  add(container: FakeContainer, networks: Readonly<Record<string, object>> = { bridge: {} }): FakeContainer {
    container.running = true;
    container.files.set('/etc/resolv.conf', `nameserver ${HOST_RESOLVER}\n`);
    for (const [name, settings] of Object.entries(networks)) container.networks.set(name, settings);
    this.containers.push(container);
    return container;
  }

  find(nameOrId: string): FakeContainer | undefined {
    return this.containers.find(({ id, name }) => id === nameOrId || name === nameOrId);
  }

  connect(container: FakeContainer, network: string, settings: object): void {
    if (container.networks.has(network)) throw new Error(`endpoint already exists in network ${network}`);
    container.networks.set(network, settings);
  }

  disconnect(container: FakeContainer, network: string): void {
    if (!container.networks.delete(network)) throw new Error(`not connected to network ${network}`);
  }

  unpack(container: FakeContainer, place: string, archive: Buffer): void {
    for (let at = 0; archive[at] !== 0 && at < archive.length; ) {
      const name = archive.toString('utf8', at, archive.indexOf(0, at));
      const size = Number.parseInt(archive.toString('latin1', at + 124, at + 135), 8);
      const content = archive.toString('utf8', at + 512, at + 512 + size);
      if (!name.endsWith('/')) container.files.set(path.posix.join(place, name), content);
      at += 512 + Math.ceil(size / 512) * 512;
    }
  }

  /** A program inside a container. Only the appliance has `outcall`; the others have `find` and `rm`. */
  run(container: FakeContainer, [program = '', ...args]: readonly string[]): Output {
    if (program === 'outcall' && container.labels['outcall.role'] === 'appliance') return this.#admin(args.slice(1));
    if (program === 'find')
      return { out: [...container.files.keys()].filter((file) => file.endsWith('cacert.pem')).join('\n') };
    if (program === 'rm') {
      for (const file of [...container.files.keys()]) {
        if (args.slice(1).some((place) => file === place || file.startsWith(`${place}/`))) container.files.delete(file);
      }
      return {};
    }
    return { code: 127, out: `${program}: not found` };
  }

  /** What a helper container does in the network namespace of another. */
  helper(helper: FakeContainer): Output {
    const networkOf = String(helper.spec.HostConfig?.['NetworkMode'] ?? '').replace('container:', '');
    const target = this.find(networkOf);
    if (target === undefined) return {};
    if (helper.spec.Entrypoint?.[0] === '/bin/sh') {
      target.files.set('/etc/resolv.conf', helper.spec.Cmd?.at(-1) ?? '');
      return {};
    }
    return { out: JSON.stringify({ ...this.#findingsIn(target), ...this.findings }) };
  }

  #findingsIn(target: FakeContainer): ProbeFindings {
    const locked = [...target.networks.keys()].every((name) => this.networks.get(name)?.Internal);
    const closed = [...target.networks.keys()].find((name) => this.networks.get(name)?.Internal);
    const { IPAMConfig } = (target.networks.get(closed ?? '') ?? {}) as InspectedEndpoint;
    return {
      resolver: closed === undefined ? 'nobody' : 'outcall',
      engineResolver: 'refusal',
      nameservers: nameservers(target.files.get('/etc/resolv.conf') ?? ''),
      defaultRoutes: locked ? [] : ['eth0'],
      addresses: [`${IPAMConfig?.IPv4Address ?? '172.17.0.2'}/16`, ...(locked ? [] : ['172.17.0.2/16'])],
      proxyAnswers: true,
      reached: [],
    };
  }

  /** It serves every network that it is on, at once. */
  #isolated(): object | null {
    if (this.isolatedRange === undefined) return null;
    const appliance = this.containers.find(({ labels }) => labels['outcall.role'] === 'appliance');
    const served = [...(appliance?.networks.keys() ?? [])]
      .filter((name) => name !== 'outcall')
      .map((name) => this.networks.get(name)?.IPAM.Config[0]?.Subnet);
    return { range: this.isolatedRange, served };
  }

  #admin([method, target = '', body]: readonly string[]): Output {
    if (target === '/v1/ca/bundle') {
      return this.caPem === undefined ? { code: 6, err: 'outcall: no CA is loaded\n' } : { out: this.caPem };
    }
    if (target === '/v1/status') return { out: JSON.stringify({ isolated: this.#isolated() }) };
    if (method === 'POST') {
      const { agents } = JSON.parse(body ?? '') as { agents: AgentEntry[] };
      for (const agent of agents) this.agents.set(agent.id, agent);
    }
    if (method === 'DELETE') {
      const known = this.agents.delete(target.replace(/^.*id=/, ''));
      if (!known) return { code: 6, err: 'outcall: no such agent\n' };
    }
    return { out: JSON.stringify({ agents: [...this.agents.values()] }) };
  }
}
