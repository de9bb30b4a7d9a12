/** What `outcall rules explain` asks of the rules, from its options: facts as the doors would make them. */
import type { Command } from 'commander';
import { canonicalHost } from '../domain/hostname.ts';
import type { Asked, AskedRequest } from '../policy/explain.ts';
import { normaliseTarget } from '../wire/target.ts';
import { CliError, EXIT_USAGE } from './io.ts';

export interface AskedOptions {
  readonly host?: string;
  readonly port?: string;
  readonly scheme: string;
  readonly method?: string;
  readonly path?: string;
  readonly header: readonly string[];
  readonly body?: string;
  readonly recordType: string;
  readonly sni?: string;
  readonly tlsVersion?: string;
  readonly alpn?: string;
  readonly status?: string;
  readonly responseHeader: readonly string[];
  readonly agent?: string;
  readonly agentIp: string;
  readonly agentImage: string;
  readonly agentLabel: readonly string[];
}

const MAX_PORT = 65_535;
const DEFAULT_PORTS: ReadonlyMap<string, number> = new Map([
  ['http', 80],
  ['https', 443],
]);

export function withAskedOptions(command: Command): Command {
  const list = (value: string, before: readonly string[]) => [...before, value];
  return command
    .option('--host <name>', 'the host that is asked for')
    .option('--port <number>', 'its port (default: 443, or 80 for http)')
    .option('--scheme <scheme>', 'https or http', 'https')
    .option('--method <method>', 'a request inside; without it and --path, the connection alone is explained')
    .option('--path <path>', 'path and query')
    .option('--header <field>', 'a header field, as "X-Team: red"; may be repeated', list, [])
    .option('--body <text>', 'the body')
    .option('--sni <name>', 'server name in the ClientHello (default, with --tls-version or --alpn: the host)')
    .option('--tls-version <version>', 'the highest that it offers (default, with --sni or --alpn: 1.3)')
    .option('--alpn <list>', 'protocols that it offers, as h2,http/1.1')
    .option('--status <number>', "the origin's answer, for rules that look at it")
    .option('--response-header <field>', 'a header field of it; may be repeated', list, [])
    .option('--record-type <type>', 'what the DNS filter is asked for', 'A')
    .option('--agent <name>', "the agent's container")
    .option('--agent-ip <address>', 'its address', '')
    .option('--agent-image <image>', 'its image', '')
    .option('--agent-label <label>', 'a label of it, as team=red; may be repeated', list, []);
}

/** Everything that is not given is known to be empty, as it is for a client that sends nothing more. */
export function askedByOptions(options: AskedOptions): Asked {
  if (options.host === undefined) throw usage('name a host, as --host api.example.com, or a recorded flow with --flow');
  const host = canonicalHost(options.host);
  if (host === undefined) throw usage(`--host: ${options.host} is not a host name or address`);
  if (!DEFAULT_PORTS.has(options.scheme)) throw usage(`--scheme: ${options.scheme} is neither https nor http`);
  const { agent = '', agentIp, agentImage, agentLabel } = options;
  const labels = Object.fromEntries(agentLabel.map((label) => pair(label, '=', '--agent-label: write it as team=red')));
  const request = requestOf(options);
  return {
    agent: { name: agent, ip: agentIp, image: agentImage, labels },
    ...{ host, port: portOf(options), recordType: options.recordType.toUpperCase() },
    ...(request === undefined ? {} : { request }),
    ...tlsOf(options, host),
    ...responseOf(options),
  };
}

function tlsOf({ sni, tlsVersion, alpn }: AskedOptions, host: string): Pick<Asked, 'tls'> {
  if (sni === undefined && tlsVersion === undefined && alpn === undefined) return {};
  const name = sni === '' ? '' : canonicalHost(sni ?? host);
  if (name === undefined) throw usage(`--sni: ${sni} is not a host name`);
  return { tls: { sni: name, version: tlsVersion ?? '1.3', alpn: alpn === undefined ? [] : alpn.split(',') } };
}

function responseOf({ status, responseHeader }: AskedOptions): Pick<Asked, 'response'> {
  if (status === undefined && responseHeader.length === 0) return {};
  if (!/^[2-5][0-9]{2}$/.test(status ?? '200')) throw usage(`--status: ${status} is not a status from 200 to 599`);
  const headers = responseHeader.flatMap((field) =>
    pair(field, ':', '--response-header: write it as "Content-Type: text/html"'),
  );
  return { response: { status: Number(status ?? '200'), headers } };
}

function requestOf(options: AskedOptions): AskedRequest | undefined {
  const { scheme, method, path, header, body } = options;
  const inside = method !== undefined || path !== undefined || header.length > 0 || body !== undefined;
  if (!inside && scheme === 'https') return undefined;
  const target = normaliseTarget(path ?? '/');
  if (!target.ok) throw usage(`--path: refused before any rule is asked: ${target.detail}`);
  const fields = header.flatMap((field) => pair(field, ':', '--header: write it as "X-Team: red"'));
  return {
    ...{ scheme: scheme as 'http' | 'https', method: method ?? 'GET', target: target.value, headers: fields },
    ...{ body: body ?? '', bodySize: Buffer.byteLength(body ?? '') },
  };
}

function portOf({ port, scheme }: AskedOptions): number {
  if (port === undefined) return DEFAULT_PORTS.get(scheme) as number;
  if (!/^[0-9]{1,5}$/.test(port) || Number(port) < 1 || Number(port) > MAX_PORT)
    throw usage(`--port: ${port} is not a port; write a number from 1 to ${MAX_PORT}`);
  return Number(port);
}

function pair(text: string, separator: string, fix: string): [string, string] {
  const at = text.indexOf(separator);
  if (at < 1) throw usage(`${fix} (found: ${text})`);
  return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

function usage(message: string): CliError {
  return new CliError(EXIT_USAGE, message);
}
