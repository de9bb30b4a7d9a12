/**
 * The names a condition may use, each with its type and how it is read: the only list of them. The type checker's
 * environment, the did-you-mean, the docs and the evaluator are all made from it.
 */
import { isAddress } from '../domain/hostname.ts';
import type { Reader } from './cel-compile.ts';
import { CelError } from './cel-value.ts';
import type { Frame } from './frame.ts';

interface Name {
  /** In cel-js's notation. */
  readonly type: string;
  readonly read: Reader<Frame>;
  readonly description: string;
}

const NO_ADDRESS = new CelError('no_value', 'network.ip has no value: the agent asked for a name, not for an address');

export const NAMES: ReadonlyMap<string, Name> = new Map<string, Name>([
  ['agent.name', { type: 'string', read: (f) => f.agent?.name, description: 'container name; empty when unknown' }],
  ['agent.image', { type: 'string', read: (f) => f.agent?.image, description: 'container image; empty when unknown' }],
  ['agent.labels', { type: 'map<string, string>', read: (f) => f.agent?.labels, description: 'container labels' }],
  ['agent.ip', { type: 'string', read: (f) => f.agent?.ip, description: 'source address' }],
  ['network.hostname', { type: 'string', read: (f) => f.host, description: 'the host asked for, as http.host' }],
  [
    'network.ip',
    {
      type: 'string',
      read: (f) => (f.host === undefined || isAddress(f.host) ? f.host : NO_ADDRESS),
      description: 'the address asked for; no value where a name was asked for; allow rules only',
    },
  ],
  [
    'network.port',
    { type: 'int', read: (f) => (f.port === undefined ? undefined : BigInt(f.port)), description: 'port asked for' },
  ],
  ['network.protocol', { type: 'string', read: () => 'tcp', description: '"tcp"' }],
  ['dns.query', { type: 'string', read: (f) => (f.recordType === '' ? '' : f.host), description: 'empty outside DNS' }],
  ['dns.record_type', { type: 'string', read: (f) => f.recordType, description: 'empty outside DNS' }],
  [
    'tls.sni',
    {
      type: 'string',
      read: (f) => (f.scheme === 'https' ? f.host : ''),
      description: 'equals http.host; empty for plain HTTP',
    },
  ],
  ['http.host', { type: 'string', read: (f) => f.host, description: 'canonical: lower case, no trailing dot' }],
  ['http.method', { type: 'string', read: (f) => f.method, description: 'upper case; CONNECT for a tunnel' }],
  ['http.scheme', { type: 'string', read: (f) => f.scheme, description: '"http" or "https"' }],
  ['http.path', { type: 'string', read: (f) => f.path, description: 'path and query; "/" for a tunnel' }],
  [
    'http.query',
    {
      type: 'map<string, list<string>>',
      read: (f) => f.query,
      description: 'decoded parameters: name to all its values',
    },
  ],
  ['http.headers', { type: 'map<string, string>', read: (f) => f.headerMap, description: 'lower-case names' }],
  [
    'http.body_size',
    {
      type: 'int',
      read: (f) => (f.bodySize === undefined ? undefined : BigInt(f.bodySize)),
      description: 'Content-Length, or the bytes read with match_body',
    },
  ],
  ['http.body', { type: 'dyn', read: (f) => f.body, description: 'text or null; with match_body' }],
  ['http.json', { type: 'dyn', read: (f) => f.json, description: 'the body as JSON, or null; with match_body' }],
]);

/** The groups that names belong to. */
export const GROUPS: ReadonlySet<string> = new Set([...NAMES.keys()].map((name) => name.split('.', 1)[0] as string));

/** Names that the rule language has and this version does not fill yet. */
export const UNFILLED_NAMES: ReadonlySet<string> = new Set(['tls.version', 'tls.alpn', 'tls.cert', 'http.response']);

/** Not known before the request inside the connection has been read. */
export const REQUEST_NAMES: ReadonlySet<string> = new Set([
  'http.method',
  'http.path',
  'http.query',
  'http.headers',
  'http.body_size',
  'http.body',
  'http.json',
]);

/** Not known before the body has been read. */
export const BODY_NAMES: ReadonlySet<string> = new Set(['http.body', 'http.json']);

/** Always the host of the connection, so a condition on one of them is a condition on the host. */
export const HOST_NAMES: ReadonlySet<string> = new Set(['http.host', 'network.hostname', 'tls.sni']);
