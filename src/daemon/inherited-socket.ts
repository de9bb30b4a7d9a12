/**
 * Where the inherited socket of the transparent door listens. Node cannot ask that without taking the socket over, so
 * it is read from /proc. Sources: proc(5), /proc/pid/fd and /proc/net/tcp.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import type { Ipv4 } from '../domain/ipv4-range.ts';

/** TCP_LISTEN of include/net/tcp_states.h. */
const LISTEN = '0A';
/** Columns of /proc/net/tcp. */
const LOCAL_ADDRESS = 1;
const STATE = 3;
const INODE = 9;

export interface ListeningAddress {
  readonly address: Ipv4;
  readonly port: number;
}

/** Undefined where the descriptor is not a listening TCP socket over IPv4. */
export function listeningAddress(fd: number): ListeningAddress | undefined {
  const inode = /^socket:\[([0-9]+)\]$/.exec(linkOf(fd))?.[1];
  if (inode === undefined) return undefined;
  const rows = readFileSync('/proc/self/net/tcp', 'latin1')
    .split('\n')
    .map((row) => row.trim().split(/\s+/));
  const row = rows.find((columns) => columns[INODE] === inode && columns[STATE] === LISTEN);
  const [, addressHex, portHex] = /^([0-9A-F]{8}):([0-9A-F]{4})$/.exec(row?.[LOCAL_ADDRESS] ?? '') ?? [];
  if (addressHex === undefined || portHex === undefined) return undefined;
  // The kernel prints the address as one number in the byte order of this machine.
  return { address: Buffer.from(addressHex, 'hex').readUInt32LE(), port: Number.parseInt(portHex, 16) };
}

function linkOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}
