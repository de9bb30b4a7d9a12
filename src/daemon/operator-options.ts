/**
 * What the options of the operator's ports must be, so that no agent can reach them (threats row 24). With --lock the kernel
 * keeps agents away from all but the proxy and DNS; without it nothing does, and loopback alone is nobody's but ours.
 */
import { hostInUrl } from '../domain/hostname.ts';
import { classifyIp } from '../domain/ip.ts';
import { Ipv4Range, parseIpv4 } from '../domain/ipv4-range.ts';
import type { HostAndPort } from './option-checks.ts';
import type { DaemonOptions } from './options.ts';

type OperatorOptionValues = Omit<DaemonOptions, 'ca'>;

const TOKEN_FILE = '--admin-token-file /run/secrets/outcall-admin-token';

/** In words for the operator, each with what to write; empty when all is well. */
export function operatorProblems(options: OperatorOptionValues): readonly string[] {
  const { adminListen, adminTokenFile, metricsListen } = options;
  const found: string[] = [];
  if (adminListen !== undefined) {
    if (adminTokenFile === undefined) found.push(`--admin-listen: it asks for a token; write ${TOKEN_FILE} as well`);
    if (!isLoopback(adminListen)) {
      const { port } = adminListen;
      found.push(`--admin-listen: ${textOf(adminListen)} is not on loopback; write --admin-listen 127.0.0.1:${port}`);
    }
    found.push(...portProblems('--admin-listen', adminListen, options));
  } else if (adminTokenFile !== undefined) {
    found.push('--admin-token-file: nothing asks for it; write --admin-listen 127.0.0.1:9901 as well, or leave it out');
  }
  if (metricsListen !== undefined) found.push(...metricsProblems(metricsListen, options));
  return found;
}

function metricsProblems(metrics: HostAndPort, options: OperatorOptionValues): readonly string[] {
  const { lock, agentsSubnet, isolated, adminListen } = options;
  const { port } = metrics;
  const found = [...portProblems('--metrics-listen', metrics, options)];
  if (port !== 0 && port === adminListen?.port) found.push(`--metrics-listen: ${port} is the port of --admin-listen`);
  if (isLoopback(metrics)) return found;
  const write = `write --metrics-listen 127.0.0.1:${port}`;
  if (!lock) found.push(`--metrics-listen: without --lock agents could reach ${textOf(metrics)}; ${write}`);
  if (parseIpv4(metrics.host) === undefined) {
    found.push(`--metrics-listen: ${textOf(metrics)} is IPv6, which --lock closes; ${write}, or an address of IPv4`);
  }
  if (lock && port === 0) found.push('--metrics-listen: --lock opens one port, and 0 names none; write 0.0.0.0:9464');
  for (const range of [agentsSubnet, isolated]) {
    if (isIn(range, metrics)) found.push(`--metrics-listen: ${textOf(metrics)} is on the agents’ network; ${write}`);
  }
  return found;
}

function portProblems(flag: string, { port }: HostAndPort, options: OperatorOptionValues): readonly string[] {
  const taken = [
    ['--listen', options.listen],
    ['--dns-listen', options.dnsListen],
  ] as const;
  return taken
    .filter(([, other]) => port !== 0 && other?.port === port)
    .map(([other]) => `${flag}: ${port} is the port of ${other}, which agents reach; write another`);
}

/** True for 127.0.0.0/8 and ::1. */
export function isLoopback({ host }: HostAndPort): boolean {
  return classifyIp(host) === 'loopback';
}

function isIn(range: string | undefined, { host }: HostAndPort): boolean {
  const address = parseIpv4(host);
  return range !== undefined && address !== undefined && Ipv4Range.parse(range)?.contains(address) === true;
}

function textOf({ host, port }: HostAndPort): string {
  return `${hostInUrl(host)}:${port}`;
}
