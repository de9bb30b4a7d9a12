/** Networks of the engine: what one is, and containers joining and leaving them. Judges nothing. */
import type { EndpointSettings } from './container-view.ts';
import { type Engine, said, saidOrAbsent } from './engine.ts';
import { DockerFailure } from './failure.ts';

export interface NetworkView {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
  readonly internal: boolean;
  readonly ipv6: boolean;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** IPv4 alone, in CIDR notation. */
  readonly subnet: string | undefined;
  readonly ipRange: string | undefined;
  readonly gateway: string | undefined;
}

interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Internal?: boolean;
  readonly EnableIPv6?: boolean;
  readonly Options?: Readonly<Record<string, string>> | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly IPAM?: {
    readonly Config?: readonly { Subnet?: string; IPRange?: string; Gateway?: string }[] | null;
  };
}

/** Undefined where there is no network of that name. */
export async function findNetwork(engine: Engine, name: string): Promise<NetworkView | undefined> {
  const answer = engine.docker.getNetwork(name).inspect() as Promise<unknown> as Promise<Inspected>;
  const found = await saidOrAbsent(`reading network ${name}`, answer);
  return found === undefined ? undefined : networkView(found);
}

/** All of the engine, or those with these labels. */
export async function listNetworks(engine: Engine, labels: readonly string[] = []): Promise<readonly NetworkView[]> {
  const filters = JSON.stringify(labels.length === 0 ? {} : { label: labels });
  const answer = engine.docker.listNetworks({ filters }) as Promise<unknown> as Promise<readonly Inspected[]>;
  return (await said('listing networks', answer)).map(networkView);
}

/** Options of POST /networks/create that we use. */
export interface NetworkSpec {
  readonly name: string;
  readonly subnet: string;
  readonly ipRange: string;
  readonly gateway: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** A bridge that leads nowhere. */
export async function createClosedNetwork(engine: Engine, spec: NetworkSpec): Promise<NetworkView> {
  const { name, subnet, ipRange, gateway, options, labels } = spec;
  const request = {
    Name: name,
    Driver: 'bridge',
    Internal: true,
    EnableIPv6: false,
    Options: { ...options },
    Labels: { ...labels },
    IPAM: { Config: [{ Subnet: subnet, IPRange: ipRange, Gateway: gateway }] },
  };
  await said(`making network ${name}`, engine.docker.createNetwork(request));
  const made = await findNetwork(engine, name);
  if (made === undefined) throw new DockerFailure('engine', `network ${name} was made and is not there`);
  return made;
}

/** Nothing happens where it is gone already. */
export async function removeNetwork(engine: Engine, name: string): Promise<void> {
  await saidOrAbsent(`removing network ${name}`, engine.docker.getNetwork(name).remove() as Promise<unknown>);
}

function networkView(found: Inspected): NetworkView {
  const ipv4 = found.IPAM?.Config?.find(({ Subnet }) => Subnet !== undefined && !Subnet.includes(':'));
  return {
    id: found.Id,
    name: found.Name,
    driver: found.Driver,
    internal: found.Internal ?? false,
    ipv6: found.EnableIPv6 ?? false,
    options: found.Options ?? {},
    labels: found.Labels ?? {},
    subnet: ipv4?.Subnet,
    ipRange: ipv4?.IPRange || undefined,
    gateway: ipv4?.Gateway || undefined,
  };
}

export async function joinNetwork(
  engine: Engine,
  network: string,
  containerId: string,
  settings: EndpointSettings,
): Promise<void> {
  const request = { Container: containerId, EndpointConfig: settings };
  const handle = engine.docker.getNetwork(network);
  await said(`connecting to network ${network}`, handle.connect(request as Parameters<typeof handle.connect>[0]));
}

export async function leaveNetwork(engine: Engine, network: string, containerId: string): Promise<void> {
  const answer = engine.docker.getNetwork(network).disconnect({ Container: containerId });
  await said(`disconnecting from network ${network}`, answer);
}
