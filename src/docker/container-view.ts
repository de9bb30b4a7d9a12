/**
 * What of a container's inspection counts here, as plain values: the engine's answer has gaps and nulls that differ
 * between versions, and they end in this file. Asks nothing.
 */

export interface EndpointView {
  readonly networkId: string;
  /** Empty while the container is stopped. */
  readonly address: string;
  /** Kept over restarts; undefined where the engine gives any free one. */
  readonly fixedAddress: string | undefined;
  /** What another `connect` needs so that the endpoint is the same again. */
  readonly settings: EndpointSettings;
}

/** The parts of EndpointSettings that a user chooses (Docker Engine API, /networks/{id}/connect). */
export interface EndpointSettings {
  readonly IPAMConfig?: {
    readonly IPv4Address?: string;
    readonly IPv6Address?: string;
    readonly LinkLocalIPs?: string[];
  };
  readonly Links?: readonly string[];
  readonly Aliases?: readonly string[];
  readonly DriverOpts?: Readonly<Record<string, string>>;
  readonly GwPriority?: number;
  /** Since API 1.44; older engines make one of the address, which is the one that we ask for. */
  readonly MacAddress?: string;
}

export interface MountView {
  readonly type: string;
  /** Path on the host; of a volume, where the engine keeps it. */
  readonly source: string;
  readonly destination: string;
  readonly writable: boolean;
}

export interface ContainerView {
  readonly id: string;
  readonly name: string;
  /** As it was asked for, and by its content. */
  readonly image: string;
  readonly imageId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly environment: readonly string[];
  readonly running: boolean;
  readonly paused: boolean;
  readonly privileged: boolean;
  /** Without CAP_, upper-case. */
  readonly capAdd: ReadonlySet<string>;
  readonly capDrop: ReadonlySet<string>;
  readonly networkMode: string;
  readonly pidMode: string;
  readonly ipcMode: string;
  readonly readOnly: boolean;
  readonly devices: readonly string[];
  readonly deviceRules: readonly string[];
  readonly securityOptions: readonly string[];
  readonly mounts: readonly MountView[];
  readonly autoRemove: boolean;
  readonly networks: ReadonlyMap<string, EndpointView>;
}

/** GET /containers/{id}/json, as far as it is read. */
export interface Inspection {
  readonly Id: string;
  readonly Name: string;
  readonly Image: string;
  readonly State: { readonly Running: boolean; readonly Paused?: boolean };
  readonly Config: {
    readonly Image: string;
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly Env?: readonly string[] | null;
  };
  readonly HostConfig: {
    readonly Privileged?: boolean;
    readonly CapAdd?: readonly string[] | null;
    readonly CapDrop?: readonly string[] | null;
    readonly NetworkMode?: string;
    readonly PidMode?: string;
    readonly IpcMode?: string;
    readonly ReadonlyRootfs?: boolean;
    readonly Devices?: readonly { readonly PathOnHost: string }[] | null;
    readonly DeviceCgroupRules?: readonly string[] | null;
    readonly SecurityOpt?: readonly string[] | null;
    readonly AutoRemove?: boolean;
  };
  readonly Mounts?: readonly { Type: string; Source?: string; Destination: string; RW: boolean }[] | null;
  readonly NetworkSettings: { readonly Networks?: Readonly<Record<string, InspectedEndpoint>> | null };
}

export interface InspectedEndpoint {
  readonly NetworkID?: string;
  readonly IPAddress?: string;
  readonly IPAMConfig?: EndpointSettings['IPAMConfig'] | null;
  readonly Links?: readonly string[] | null;
  readonly Aliases?: readonly string[] | null;
  readonly DriverOpts?: Readonly<Record<string, string>> | null;
  readonly GwPriority?: number;
}

export function containerView({ Id, Name, Image, State, Config, HostConfig, ...rest }: Inspection): ContainerView {
  return {
    id: Id,
    name: Name.replace(/^\//, ''),
    image: Config.Image,
    imageId: Image,
    labels: Config.Labels ?? {},
    environment: Config.Env ?? [],
    running: State.Running,
    paused: State.Paused ?? false,
    privileged: HostConfig.Privileged ?? false,
    capAdd: capabilities(HostConfig.CapAdd),
    capDrop: capabilities(HostConfig.CapDrop),
    networkMode: HostConfig.NetworkMode ?? 'default',
    pidMode: HostConfig.PidMode ?? '',
    ipcMode: HostConfig.IpcMode ?? '',
    readOnly: HostConfig.ReadonlyRootfs ?? false,
    devices: (HostConfig.Devices ?? []).map(({ PathOnHost }) => PathOnHost),
    deviceRules: HostConfig.DeviceCgroupRules ?? [],
    securityOptions: HostConfig.SecurityOpt ?? [],
    mounts: (rest.Mounts ?? []).map(({ Type, Source = '', Destination, RW }) => ({
      type: Type,
      source: Source,
      destination: Destination,
      writable: RW,
    })),
    autoRemove: HostConfig.AutoRemove ?? false,
    networks: new Map(
      Object.entries(rest.NetworkSettings.Networks ?? {}).map(([name, endpoint]) => [name, endpointView(Id, endpoint)]),
    ),
  };
}

/** Where the same container is another one, as in the answer to a list. */
export function endpointView(containerId: string, endpoint: InspectedEndpoint): EndpointView {
  const { IPAMConfig, Links, Aliases, DriverOpts, GwPriority } = endpoint;
  // The engine itself adds the short id as an alias.
  const aliases = (Aliases ?? []).filter((alias) => alias === '' || !containerId.startsWith(alias));
  return {
    networkId: endpoint.NetworkID ?? '',
    address: endpoint.IPAddress ?? '',
    fixedAddress: IPAMConfig?.IPv4Address || undefined,
    settings: {
      ...(IPAMConfig == null ? {} : { IPAMConfig }),
      ...(Links == null ? {} : { Links }),
      ...(aliases.length === 0 ? {} : { Aliases: aliases }),
      ...(DriverOpts == null ? {} : { DriverOpts }),
      ...(GwPriority === undefined || GwPriority === 0 ? {} : { GwPriority }),
    },
  };
}

function capabilities(names: readonly string[] | null | undefined): ReadonlySet<string> {
  return new Set((names ?? []).map((name) => name.toUpperCase().replace(/^CAP_/, '')));
}
