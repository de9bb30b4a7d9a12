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
  [
    'tls.version',
    {
      type: 'string',
      read: (f) => f.hello('', (tls) => tls.version),
      description: 'the highest that the client offers, as "1.3"; empty for plain HTTP',
    },
  ],
  [
    'tls.alpn',
    {
      type: 'list<string>',
      read: (f) => f.hello([], (tls) => tls.alpn),
      description: 'the protocols that the client offers; empty for plain HTTP',
    },
  ],
  [
    'tls.cert.subject_cn',
    { type: 'string', read: (f) => f.cert('', (cert) => cert.subjectCn), description: "of the server's certificate" },
  ],
  [
    'tls.cert.san',
    { type: 'list<string>', read: (f) => f.cert([], (cert) => cert.san), description: 'its names, in lower case' },
  ],
  [
    'tls.cert.issuer_cn',
    { type: 'string', read: (f) => f.cert('', (cert) => cert.issuerCn), description: 'common name of its issuer' },
  ],
  [
    'tls.cert.fingerprint_sha256',
    {
      type: 'string',
      read: (f) => f.cert('', (cert) => cert.fingerprintSha256),
      description: '64 lower-case hex digits',
    },
  ],
  [
    'tls.cert.not_after',
    {
      type: 'string',
      read: (f) => f.cert('', (cert) => new Date(cert.notAfter).toISOString()),
      description: 'the end of its validity, as "2027-01-31T00:00:00.000Z"',
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
  [
    'http.response.status',
    {
      type: 'int',
      read: (f) => (f.response === undefined ? undefined : BigInt(f.response.status)),
      description: 'in egress.response alone',
    },
  ],
  [
    'http.response.headers',
    {
      type: 'map<string, string>',
      read: (f) => f.responseHeaderMap,
      description: 'lower-case names; in egress.response alone',
    },
  ],
]);

/** The groups that names belong to. */
export const GROUPS: ReadonlySet<string> = new Set([...NAMES.keys()].map((name) => name.split('.', 1)[0] as string));

/** Groups within groups. */
export const SUBGROUPS: ReadonlySet<string> = new Set(
  [...NAMES.keys()].filter((name) => name.split('.').length > 2).map((name) => name.slice(0, name.lastIndexOf('.'))),
);

/** Known once the ClientHello has been read. */
export const HELLO_NAMES: ReadonlySet<string> = new Set(['tls.version', 'tls.alpn']);

/** Known once the server's certificate has been seen, which is only looked at where the connection is not decrypted. */
export const CERTIFICATE_NAMES: ReadonlySet<string> = new Set(
  [...NAMES.keys()].filter((name) => name.startsWith('tls.cert.')),
);

/** Known once the origin has answered. */
export const RESPONSE_NAMES: ReadonlySet<string> = new Set(
  [...NAMES.keys()].filter((name) => name.startsWith('http.response.')),
);

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
