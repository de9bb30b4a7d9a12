/**
 * May this container be locked as it is? A table of what would let it round the lock, each with why and what to change
 * (threats row 26). Pure: judges what the engine tells of the container, changes nothing.
 */
import type { ContainerView, MountView } from './container-view.ts';

export interface Obstacle {
  /** warn: it can be locked, and something is left that the operator should know. */
  readonly severity: 'refuse' | 'warn';
  readonly what: string;
  readonly why: string;
  readonly change: string;
}

/** Another container that shares something with this one. */
export interface Companion {
  readonly name: string;
  readonly shares: 'network' | 'processes';
  readonly container: ContainerView;
}

/** Capabilities with which a process changes its own network, or leaves its container (capabilities(7)). */
const REFUSED_CAPABILITIES: Readonly<Record<string, string>> = {
  NET_ADMIN: 'it could change its own addresses, routes and firewall',
  SYS_ADMIN: 'it could mount the host’s file systems and enter other namespaces',
  SYS_MODULE: 'it could load code into the host’s kernel',
  SYS_RAWIO: 'it could write to the host’s memory and devices',
  DAC_READ_SEARCH: 'it could open any file of the host by its handle',
  BPF: 'it could load programs into the host’s kernel',
  SYS_BOOT: 'it could start another kernel on the host',
  MAC_ADMIN: 'it could change the profile that confines it',
};

/** What moby's default profile of capabilities has of those that matter here. */
const DEFAULT_CAPABILITIES: ReadonlySet<string> = new Set(['NET_RAW']);

/** Folders of the host that hold the engine's socket, or all that the host is. */
const REFUSED_SOURCES: readonly (readonly [RegExp, string])[] = [
  [/^\/$/, 'the whole file system of the host is in it'],
  [/^(\/var)?\/run$/, 'the Docker socket is in it'],
  [/^\/run\/user(\/[0-9]+)?$/, 'the socket of a rootless engine may be in it'],
  [/^\/var$/, 'the engine’s own files are in it, and the way to its socket'],
  [/^\/var\/lib(\/docker(\/.*)?|\/containerd(\/.*)?)?$/, 'the engine’s own files are in it'],
  [/^(\/var)?\/run\/(docker|containerd|podman|crio)(\/.*)?$/, 'the engine is driven from there'],
];
/** The same, where it may write there. */
const REFUSED_WRITABLE_SOURCES: readonly (readonly [RegExp, string])[] = [
  [/^\/(proc|sys)(\/.*)?$/, 'the host’s kernel is set through it'],
  [/^\/dev$/, 'the host’s devices are in it'],
  [/^\/etc$/, 'what the host runs as root is configured there'],
  [/^\/(boot|root|usr|lib|lib64|bin|sbin)$/, 'what the host runs as root is there'],
];
const ENGINE_SOCKET = /(^|\/)(docker|containerd|podman|crio|buildkitd)\.sock$/;
const ANY_HOST_SOCKET = /\.sock(et)?$/;
/** Graphics and compute devices compute; they reach no network. */
const HARMLESS_DEVICE = /^\/dev\/(dri(\/.*)?|nvidia[a-z0-9-]*|kfd|snd(\/.*)?)$/;

/** In the order of weight; empty for a container that can be locked and leaves nothing open. `alone`: on a network of its own. */
export function obstacles(
  container: ContainerView,
  companions: readonly Companion[] = [],
  alone = false,
): readonly Obstacle[] {
  const found = [
    ...privilege(container),
    ...capabilityObstacles(container, alone),
    ...namespaceObstacles(container),
    ...container.mounts.flatMap(mountObstacles),
    ...deviceObstacles(container),
    ...companions.flatMap(companionObstacles),
    ...softer(container),
  ];
  return [...found.filter(isRefusal), ...found.filter((obstacle) => !isRefusal(obstacle))];
}

export function isRefusal({ severity }: Obstacle): boolean {
  return severity === 'refuse';
}

/** Added, or among the engine's defaults and not dropped. `cap_add: [ALL]` is taken back by drops, as the engine does. */
function hasCapability(container: ContainerView, name: string): boolean {
  const { capAdd, capDrop, privileged } = container;
  if (privileged || capAdd.has(name)) return true;
  if (capDrop.has(name)) return false;
  return capAdd.has('ALL') || (DEFAULT_CAPABILITIES.has(name) && !capDrop.has('ALL'));
}

function privilege({ privileged }: ContainerView): readonly Obstacle[] {
  if (!privileged) return [];
  return [refuse('privileged', 'it has every capability and every device of the host', 'remove privileged: true')];
}

function capabilityObstacles(container: ContainerView, alone: boolean): readonly Obstacle[] {
  if (container.privileged) return [];
  const refused = Object.entries(REFUSED_CAPABILITIES)
    .filter(([name]) => hasCapability(container, name))
    .map(([name, why]) => {
      const change = container.capAdd.has(name) ? `remove ${name} from cap_add` : 'remove ALL from cap_add';
      return refuse(`capability ${name}`, why, change);
    });
  if (!hasCapability(container, 'NET_RAW')) return refused;
  const why = alone
    ? 'it could send frames to the host’s side of its bridge'
    : 'on the bridge that agents share it could send frames in the name of another container';
  const change = `write cap_drop: [NET_RAW], attach with --recreate${alone ? '' : ' or --isolate'}, or run the guard`;
  return [...refused, warn('capability NET_RAW', why, change)];
}

function namespaceObstacles({ networkMode, pidMode, ipcMode }: ContainerView): readonly Obstacle[] {
  const found: Obstacle[] = [];
  const network = 'remove network_mode and give it a network of its own';
  if (networkMode === 'host') found.push(refuse('network_mode: host', 'the host’s network is its own', network));
  if (networkMode.startsWith('container:')) {
    const why = 'its network is another container’s, which must be locked in its place';
    found.push(refuse(`network_mode: ${networkMode}`, why, `attach ${networkMode.slice('container:'.length)} instead`));
  }
  if (networkMode === 'none') {
    const change = 'leave it as it is, or attach with --recreate';
    found.push(refuse('network_mode: none', 'it has no network, which is closed already', change));
  }
  if (pidMode === 'host') {
    found.push(refuse('pid: host', 'it sees the host’s processes, and their files and namespaces', 'remove pid: host'));
  }
  if (pidMode.startsWith('container:')) {
    const why = 'it could take over a process of a container that is not locked';
    found.push(refuse(`pid: ${pidMode}`, why, 'remove pid'));
  }
  if (ipcMode === 'host') {
    found.push(warn('ipc: host', 'it shares memory with programs of the host', 'remove ipc: host'));
  }
  return found;
}

function mountObstacles({ type, source, destination, writable }: MountView): readonly Obstacle[] {
  if (type !== 'bind') return [];
  const change = `remove the mount of ${source} at ${destination}`;
  const path = source.length > 1 ? source.replace(/\/+$/, '') : source;
  if (ENGINE_SOCKET.test(path) || ENGINE_SOCKET.test(destination)) {
    return [refuse(`the engine’s socket ${source}`, 'with it, it can start any container on the host', change)];
  }
  const always = REFUSED_SOURCES.find(([pattern]) => pattern.test(path));
  if (always !== undefined) return [refuse(`the host’s ${source}`, always[1], change)];
  const sensitive = REFUSED_WRITABLE_SOURCES.find(([pattern]) => pattern.test(path));
  if (sensitive !== undefined && writable) return [refuse(`the host’s ${source}, writable`, sensitive[1], change)];
  if (sensitive !== undefined) return [warn(`the host’s ${source}`, sensitive[1], change)];
  if (!ANY_HOST_SOCKET.test(path)) return [];
  return [warn(`the host’s socket ${source}`, 'who listens there may reach what the rules forbid', change)];
}

function deviceObstacles({ devices, deviceRules }: ContainerView): readonly Obstacle[] {
  const named = devices
    .filter((device) => !HARMLESS_DEVICE.test(device))
    .map((device) =>
      refuse(`device ${device}`, 'a device of the host is a way past its network', `remove ${device} from devices`),
    );
  const rules = deviceRules.map((rule) =>
    refuse(`device rule "${rule}"`, 'it could make the host’s devices for itself', 'remove device_cgroup_rules'),
  );
  return [...named, ...rules];
}

/** Who shares the network can change it; who shares the processes can be taken over, network and all. */
function companionObstacles({ name, shares, container }: Companion): readonly Obstacle[] {
  if (shares === 'processes') {
    const why = 'through its processes there is a way to its network';
    return [refuse(`container ${name}, which runs with pid: of this one`, why, `stop ${name}`)];
  }
  return obstacles(container)
    .filter((obstacle) => isRefusal(obstacle) && !obstacle.what.startsWith('network_mode: container:'))
    .map(({ what, why, change }) =>
      refuse(`${what} of ${name}, which shares this network`, why, `in ${name}: ${change}`),
    );
}

function softer({ securityOptions }: ContainerView): readonly Obstacle[] {
  return securityOptions
    .filter((option) => /^(apparmor|seccomp|systempaths)[=:]unconfined$/.test(option))
    .map((option) =>
      warn(`security_opt: ${option}`, 'a barrier between it and the host’s kernel is off', `remove ${option}`),
    );
}

function refuse(what: string, why: string, change: string): Obstacle {
  return { severity: 'refuse', what, why, change };
}

function warn(what: string, why: string, change: string): Obstacle {
  return { severity: 'warn', what, why, change };
}
