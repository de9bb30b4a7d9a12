/**
 * What the text of an option must be: one function per kind, each giving the value, or what is wrong and what to write.
 * Reads nothing, opens nothing.
 */
import { LOG_LEVELS, type LogLevel } from '../audit/log.ts';
import { DEFAULT_ADMIN_SOCKET } from '../domain/admin-api.ts';
import { canonicalHost, type Host, hostInUrl, isAddress } from '../domain/hostname.ts';
import { CidrSet } from '../domain/ip.ts';
import { Ipv4Range } from '../domain/ipv4-range.ts';
import type { Enforcement } from '../domain/verdict.ts';

export interface HostAndPort {
  readonly host: Host;
  readonly port: number;
}

/** Who a child process runs as. */
export interface UserAndGroup {
  readonly uid: number;
  readonly gid: number;
}

/** A value, or what is wrong with the text and what to write instead. */
export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly wrong: string; readonly write: string };

/** sockaddr_un of unix(7): 108 bytes with the closing NUL. */
const MAX_SOCKET_PATH_BYTES = 107;
const MAX_PORT = 65_535;
/** (uid_t)-1 means "leave it as it is" to chown(2) and setreuid(2). */
const MAX_ID = 4_294_967_294;

function good<T>(value: T): Checked<T> {
  return { ok: true, value };
}

function bad(wrong: string, write: string): Checked<never> {
  return { ok: false, wrong, write };
}

export function checkInteger(min: number, max: number): (text: string) => Checked<number> {
  return (text) => {
    // Decimal digits alone: Number() would also take 1e3, 0x10 and blanks.
    if (!/^[0-9]{1,15}$/.test(text)) return bad('is not a whole number', `a number from ${min} to ${max}`);
    const value = Number(text);
    if (value < min) return bad(`is below ${min}`, String(min));
    if (value > max) return bad(`is above ${max}`, String(max));
    return good(value);
  };
}

export function checkPath(example: string): (text: string) => Checked<string> {
  return (text) => (text === '' || text.includes('\0') ? bad('is not a path', example) : good(text));
}

export function checkSocketPath(text: string): Checked<string> {
  if (text === '' || text.includes('\0')) return bad('is not a path', DEFAULT_ADMIN_SOCKET);
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return good(text);
  return bad(`is ${bytes} bytes long, and a socket's path has at most ${MAX_SOCKET_PATH_BYTES}`, DEFAULT_ADMIN_SOCKET);
}

export function checkListen(example: string): (text: string) => Checked<HostAndPort> {
  return (text) => {
    const address = splitAddress(text);
    if (address !== undefined) return good(address);
    const portAlone = /^:?([0-9]{1,5})$/.exec(text)?.[1];
    return bad(
      'is not ADDRESS:PORT with an IP address',
      portAlone === undefined ? example : example.replace(/[0-9]+$/, portAlone),
    );
  };
}

/** Kept as text: options are plain data that is sent to other processes. */
export function checkRange(example: string): (text: string) => Checked<string> {
  return (text) => {
    const range = Ipv4Range.parse(text);
    return range === undefined
      ? bad('is not an IPv4 range whose bits after the prefix are 0', example)
      : good(range.cidr);
  };
}

export function checkUser(example: string): (text: string) => Checked<UserAndGroup> {
  return (text) => {
    const match = /^([0-9]{1,10}):([0-9]{1,10})$/.exec(text);
    const [uid, gid] = [Number(match?.[1]), Number(match?.[2])];
    if (match === null || uid > MAX_ID || gid > MAX_ID) return bad('is not UID:GID in numbers', example);
    return uid === 0 || gid === 0 ? bad('is root, or its group', example) : good({ uid, gid });
  };
}

export function checkResolvers(text: string): Checked<readonly string[]> {
  const servers: string[] = [];
  for (const item of listItems(text)) {
    const address = splitAddress(item) ?? splitAddress(`${item.includes(':') ? `[${item}]` : item}:53`);
    if (address === undefined)
      return bad(`has ${JSON.stringify(item)}, which is not ADDRESS:PORT with an IP address`, '1.1.1.1:53');
    if (address.port === 0)
      return bad(`has ${JSON.stringify(item)}, and a resolver's port is not 0`, `${hostInUrl(address.host)}:53`);
    servers.push(`${hostInUrl(address.host)}:${address.port}`);
  }
  return good(servers);
}

export function checkCidrs(text: string): Checked<readonly string[]> {
  const ranges = listItems(text);
  const parsed = CidrSet.parse(ranges);
  if (parsed.ok) return good(ranges);
  const [first] = parsed.problems;
  const wrong = parsed.problems.map(({ value, message }) => `${JSON.stringify(value)}: ${message}`).join('; ');
  return bad(`has ${wrong}`, first?.fix ?? '10.1.0.0/16');
}

export function checkLogLevel(text: string): Checked<LogLevel> {
  const level = LOG_LEVELS.find((name) => name === text);
  return level === undefined ? bad('is not a level', 'info') : good(level);
}

export function checkEnforcement(text: string): Checked<Enforcement> {
  return text === 'enforce' || text === 'audit' ? good(text) : bad('is neither enforce nor audit', 'audit');
}

export function checkSwitch(text: string): Checked<boolean> {
  if (text === 'true' || text === '1') return good(true);
  if (text === 'false' || text === '0') return good(false);
  return bad('is neither true nor false', 'true');
}

function listItems(text: string): string[] {
  return text === '' ? [] : text.split(',').map((item) => item.trim());
}

function splitAddress(text: string): HostAndPort | undefined {
  const match = /^(.+):([0-9]{1,5})$/.exec(text);
  const hostText = match?.[1];
  if (hostText === undefined || (hostText.includes(':') && !hostText.startsWith('['))) return undefined;
  const host = canonicalHost(hostText);
  const port = Number(match?.[2]);
  return host !== undefined && isAddress(host) && port <= MAX_PORT ? { host, port } : undefined;
}
