/**
 * The witnesses: what reached the internet of the lab (its servers, and below them every packet), and which packets reached
 * programs of the engine's host. The internet's names are set here too.
 */
import http from 'node:http';
import { join } from 'node:path';
import type { Contact } from '../../../scripts/lab/internet.ts';
import { LAB_RUN, type Place, runIn } from './lab.ts';

/** An address of the internet that answers UDP as well; every one of 198.18.0.0/15 answers TCP. */
export const ORIGIN = '198.18.0.10';
export const INTERNET_CA_FILE = join(LAB_RUN, 'internet-ca.pem');
/** What the appliance must be told for these addresses: they are of the range for benchmarks (RFC 2544). */
export const INTERNET_RANGE = '198.18.0.0/15';

/** One kind of packet that arrived: which interface, from whom, to whom, and for TCP and UDP the port it went to. */
export interface Packet {
  readonly interface: string;
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number | undefined;
}

/** Sets names of the internet's zone; null forgets one. In force when this resolves. */
export async function setZone(zone: Readonly<Record<string, string | readonly string[] | null>>): Promise<void> {
  await ask('PUT', '/zone', JSON.stringify(zone));
}

/** The witnesses forget what they saw. */
export async function forget(): Promise<void> {
  const sets = ['ipv4', 'other_ipv4', 'ipv6', 'other_ipv6'].map((set) => `flush set inet witness ${set}\n`).join('');
  const flushed = (['inet', 'host'] as const).map((place) => runIn(place, ['nft', '-f', '-'], { input: sets }));
  const failed = (await Promise.all(flushed)).find(({ code }) => code !== 0);
  if (failed !== undefined) throw new Error(failed.stderr);
  await ask('DELETE', '/contacts');
}

/** Everything that reached a server of the internet since the witnesses last forgot. */
export async function contacts(): Promise<readonly Contact[]> {
  return JSON.parse(await ask('GET', '/contacts')) as readonly Contact[];
}

/** What reached the internet about a name: queries, handshakes and requests, as `KIND WHAT`. */
export async function contactsAbout(name: string): Promise<readonly string[]> {
  return (await contacts()).filter(({ what }) => what.includes(name)).map(({ kind, what }) => `${kind} ${what}`);
}

/** Kinds of packets that arrived at the internet's wire, or at the host's own programs, since the witnesses last forgot. */
export async function packets(place: Place): Promise<readonly Packet[]> {
  const { stdout } = await runIn(place, ['nft', '-j', 'list', 'table', 'inet', 'witness']);
  const { nftables } = JSON.parse(stdout) as { nftables: readonly { set?: { elem?: readonly NftElement[] } }[] };
  return nftables.flatMap(({ set }) => set?.elem ?? []).map(({ concat }) => packetOf(concat));
}

interface NftElement {
  readonly concat: readonly (string | number)[];
}

function packetOf([on, from, to, protocol, port]: readonly (string | number)[]): Packet {
  return {
    interface: String(on),
    from: String(from),
    to: String(to),
    protocol: String(protocol),
    port: typeof port === 'number' ? port : undefined,
  };
}

function ask(method: string, path: string, body = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath: join(LAB_RUN, 'internet.sock'), method, path, agent: false });
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(text));
    });
    request.end(body);
  });
}
