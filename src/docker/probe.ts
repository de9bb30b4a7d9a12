/**
 * Looks around in the network namespace that it runs in, which is an agent's: who answers for names, what has a route,
 * who can be reached. Only tells what it found; verify.ts judges. Runs in the helper container, never in the daemon.
 */

import { randomBytes, randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import { RCODE, TYPE } from '../wire/dns-codes.ts';
import { encodeQuestion, readResponse } from '../wire/dns-response.ts';
import { ENGINE_RESOLVER, nameservers } from './resolv-conf.ts';

/** On one bridge an answer takes well under a millisecond; the machine may be busy. */
const ANSWER_MS = 2_000;
/** A closed port answers at once, an address that nobody has never. */
const CONNECT_MS = 1_000;
const DNS_PORT = 53;
/** No network of documentation addresses exists (RFC 5737): a way to it is a way to everywhere. */
const OUTSIDE = '192.0.2.1';
/** Ports of a host that often answer. */
const HOST_PORTS = [22, 80, 443, 2375] as const;
/** Never registered (RFC 6761), so the answer is not in any cache. */
const NOBODY = 'invalid';
/** The names in the SOA record of our own negative answers: see wire/dns-answer.ts. */
const OUR_SOA = Buffer.from('\x07outcall\x00', 'latin1');

export interface ProbeRequest {
  readonly resolver: string;
  readonly proxyPort: number;
  /** The bridge's address, where the host would be; undefined where it has none. */
  readonly gateway: string | undefined;
}

/** Who answered a question: us, somebody else, somebody who only refuses, nobody. */
export type Answerer = 'outcall' | 'another' | 'refusal' | 'nobody';

export interface ProbeFindings {
  readonly resolver: Answerer;
  readonly engineResolver: Answerer;
  readonly nameservers: readonly string[];
  /** Interfaces with a default route. */
  readonly defaultRoutes: readonly string[];
  /** All but loopback and link-local, as CIDR. */
  readonly addresses: readonly string[];
  readonly proxyAnswers: boolean;
  /** `address:port` of what could be reached and must not. */
  readonly reached: readonly string[];
}

export async function probe({ resolver, proxyPort, gateway }: ProbeRequest): Promise<ProbeFindings> {
  const forbidden = [
    `${OUTSIDE}:443`,
    ...(gateway === undefined ? [] : HOST_PORTS.map((port) => `${gateway}:${port}`)),
  ];
  const [fromResolver, fromEngine, proxyAnswers, ...reached] = await Promise.all([
    askName(resolver),
    askName(ENGINE_RESOLVER),
    connects(resolver, proxyPort).then((how) => how === 'connected'),
    ...forbidden.map(async (place) => {
      const [host = '', port = ''] = place.split(':');
      return (await connects(host, Number(port))) === 'silent' ? undefined : place;
    }),
  ]);
  return {
    resolver: fromResolver,
    engineResolver: fromEngine,
    nameservers: nameservers(readFileSync('/etc/resolv.conf', 'utf8')),
    defaultRoutes: [
      ...defaultRoutes4(readText('/proc/net/route')),
      ...defaultRoutes6(readText('/proc/net/ipv6_route')),
    ],
    addresses: ownAddresses(),
    proxyAnswers,
    reached: reached.filter((place) => place !== undefined),
  };
}

/** What the answer to the question for a name that nobody has says of who gave it. */
export function answererOf(message: Buffer, rcode: number): Answerer {
  if (message.includes(OUR_SOA)) return 'outcall';
  return rcode === RCODE.SERVFAIL || rcode === RCODE.REFUSED ? 'refusal' : 'another';
}

async function askName(server: string): Promise<Answerer> {
  const name = `outcall-${randomBytes(6).toString('hex')}.${NOBODY}`;
  const question = encodeQuestion(randomInt(0x10000), name, TYPE.A);
  const socket = dgram.createSocket('udp4');
  const { promise, resolve } = Promise.withResolvers<Answerer>();
  const deadline = setTimeout(resolve, ANSWER_MS, 'nobody');
  socket.on('error', () => resolve('nobody'));
  socket.on('message', (message) => {
    const read = readResponse(message, question);
    if (read.kind === 'response') resolve(answererOf(message, read.response.rcode));
    if (read.kind === 'malformed') resolve('another');
  });
  socket.send(question, DNS_PORT, server, (error) => error && resolve('nobody'));
  const answerer = await promise;
  clearTimeout(deadline);
  socket.close();
  return answerer;
}

/** refused: somebody is there. silent: nobody, or a wall. */
async function connects(host: string, port: number): Promise<'connected' | 'refused' | 'silent'> {
  const { promise, resolve } = Promise.withResolvers<'connected' | 'refused' | 'silent'>();
  const socket = net.connect({ host, port });
  const deadline = setTimeout(resolve, CONNECT_MS, 'silent');
  socket.once('connect', () => resolve('connected'));
  socket.once('error', (error: NodeJS.ErrnoException) =>
    resolve(error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET' ? 'refused' : 'silent'),
  );
  const how = await promise;
  clearTimeout(deadline);
  socket.destroy();
  return how;
}

/** /proc/net/route: interface, destination, gateway, flags, ..., mask (proc(5)); addresses in hexadecimal. */
export function defaultRoutes4(table: string): readonly string[] {
  return rowsOf(table)
    .slice(1)
    .filter((row) => row[1] === '00000000' && row[7] === '00000000')
    .map((row) => row[0] as string);
}

/** /proc/net/ipv6_route: destination, its prefix, ..., flags, interface. The kernel lists a reject route on lo itself. */
export function defaultRoutes6(table: string): readonly string[] {
  return rowsOf(table)
    .filter((row) => /^0{32}$/.test(row[0] ?? '') && row[1] === '00' && row[9] !== 'lo')
    .map((row) => row[9] as string);
}

function rowsOf(table: string): readonly string[][] {
  return table
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => line.trim().split(/\s+/));
}

/** Absent where the kernel has no IPv6. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ cidr, address }) => cidr ?? address);
}
