/** Records gathered by where they went: what was asked of each host and port, how often, by whom. */
import type { Scheme } from '../domain/facts.ts';
import { type AuditRecord, REDACTED } from '../domain/record.ts';

export interface Destination {
  readonly host: string;
  readonly port: number;
  /** Of its requests; https where there are none. */
  readonly scheme: Scheme;
  readonly requests: readonly RequestEvidence[];
  /** That went through unread. */
  readonly connections: number;
  /** They were relayed under direct_ip. */
  readonly direct: boolean;
  /** Names, or addresses where there is none. */
  readonly agents: ReadonlySet<string>;
  /** Addresses that were dialled. */
  readonly upstreams: ReadonlySet<string>;
}

export interface RequestEvidence {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** undefined: no query at all. */
  readonly query: QueryEvidence | undefined;
}

export interface QueryEvidence {
  /** Each parameter's name and value; undefined for a value that is not recorded. */
  readonly parameters: readonly (readonly [name: string, value: string | undefined])[];
  /** Some parameter has no `=`, and so not even its name is recorded. */
  readonly unnamed: boolean;
}

/** In the order in which they were first seen. */
export function destinationsOf(records: readonly AuditRecord[]): readonly Destination[] {
  const groups = new Map<string, AuditRecord[]>();
  for (const record of records) {
    const { host, port, scheme, event } = record;
    if (host === null || port === null) continue;
    const key = `${host} ${port} ${event === 'request' ? scheme : 'https'}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [record]);
    else group.push(record);
  }
  return [...groups.values()].map(destinationOf);
}

function destinationOf(records: readonly AuditRecord[]): Destination {
  const requests = records.filter(({ event }) => event === 'request');
  const { host, port } = records[0] as AuditRecord;
  return {
    host: host as string,
    port: port as number,
    scheme: requests[0]?.scheme ?? 'https',
    requests: requests.map(requestOf).filter((request) => request !== undefined),
    connections: records.length - requests.length,
    direct: records.some(({ taken }) => taken === 'direct'),
    agents: new Set(records.map(({ agent, agent_ip }) => agent || agent_ip)),
    upstreams: new Set(records.flatMap(({ upstream }) => (upstream === null ? [] : [upstream]))),
  };
}

function requestOf({ method, path }: AuditRecord): RequestEvidence | undefined {
  if (method === null || path === null) return undefined;
  const start = path.indexOf('?');
  if (start === -1) return { method, path, query: undefined };
  const parts = path
    .slice(start + 1)
    .split('&')
    .filter((part) => part !== '');
  const named = parts.filter((part) => part.includes('='));
  return {
    method,
    path: path.slice(0, start),
    query: { parameters: named.map(parameterOf), unnamed: named.length < parts.length },
  };
}

function parameterOf(part: string): readonly [string, string | undefined] {
  const equals = part.indexOf('=');
  const written = part.slice(equals + 1);
  return [decoded(part.slice(0, equals)), written === REDACTED ? undefined : decoded(written)];
}

/** As rules see it in http.query. */
function decoded(text: string): string {
  return new URLSearchParams(`x=${text}`).get('x') ?? text;
}
