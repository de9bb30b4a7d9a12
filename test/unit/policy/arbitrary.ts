/**
 * Random conditions and random requests that have something to do with each other: the same few hosts, headers,
 * paths and bodies occur in both, and so do missing ones.
 */
import fc from 'fast-check';
import type { RequestFacts } from '../../../src/domain/facts.ts';
import type { Host } from '../../../src/domain/hostname.ts';
import { checkCondition } from '../../../src/policy/cel-check.ts';

const HOSTS = ['a.com', 'x.a.com', 'b.org', 'xa.com', '10.0.0.1', 'deep.x.a.com'];
const METHODS = ['GET', 'POST', 'DELETE'];
const PATHS = ['/', '/v1/a', '/v1/a?k=1', '/v1/a?k=1&k=2', '/v2//b', '//v1/a', '/v1/%2F?q=a+b'];
const BODIES = ['', 'secret', '{"a":1,"b":"x","l":[1,2,"x"]}', '{"a":null}', '[1]', '"text"', 'not json'];

const text = (...values: string[]) => fc.constantFrom(...values.map((value) => JSON.stringify(value)));

/** Atoms that are known when the connection is asked for. */
const early = fc.oneof(
  fc
    .tuple(fc.constantFrom('http.host', 'network.hostname', 'tls.sni'), text(...HOSTS))
    .map(([name, host]) => `${name} == ${host}`),
  text(...HOSTS).map((host) => `${host} != http.host`),
  text('a.com', 'b.org', 'x.a.com').map((host) => `domain(http.host, ${host})`),
  text('.a.com', 'a.com', '.com', '').map((end) => `http.host.endsWith(${end})`),
  fc.constantFrom(
    'http.host in ["a.com", "b.org"]',
    'http.host in ["x.a.com"]',
    'http.host.matches("^x\\\\.")',
    'http.scheme == "https"',
  ),
  fc.constantFrom(
    'agent.name == "one"',
    'agent.labels["team"] == "red"',
    '"team" in agent.labels',
    'has(agent.labels.team)',
  ),
  fc.constantFrom(
    'agent.labels[?"team"].orValue("none") == "none"',
    'cidr(agent.ip, "10.0.0.0/8")',
    'cidr(network.ip, "10.0.0.0/8")',
  ),
  fc.constantFrom(
    'network.port == 443',
    'network.port in [80, 8080]',
    'network.port > 443',
    'dns.query == ""',
    'true',
    'false',
  ),
  fc.constantFrom('agent.labels.exists(k, k == "team")', 'agent.labels.all(k, agent.labels[k] == "red")'),
);

/** Atoms about the request. */
const late = fc.oneof(
  text(...METHODS).map((method) => `http.method == ${method}`),
  fc.constantFrom(
    'http.method in ["GET", "HEAD"]',
    'http.method != "POST"',
    '[http.method, "PUT"].exists(m, m == "PUT")',
  ),
  text('/v1', '/v2/', '/').map((path) => `http.path.startsWith(${path})`),
  fc.constantFrom('glob(http.path, "/v1/*")', 'http.path.matches("^/v[0-9]+/")', 'http.path.size() > 5'),
  fc.constantFrom(
    'http.headers["x-a"] == "1"',
    'http.header("X-A") == "1"',
    '"x-a" in http.headers',
    'has(http.headers.accept)',
  ),
  fc.constantFrom(
    'http.headers[?"x-a"].orValue("0") == "0"',
    'http.headers.exists(h, h.startsWith("x-"))',
    'http.headers.all(h, h != "x-b")',
  ),
  fc.constantFrom(
    'http.query["k"] == ["1"]',
    '"1" in http.query["k"]',
    'http.query["q"][0] == "a b"',
    'has(http.query.k)',
  ),
  fc.constantFrom(
    'http.query["k"].exists_one(v, v == "1")',
    'http.query["k"].map(v, v + "!") == ["1!"]',
    'http.query["k"].filter(v, v != "1") == []',
  ),
);

const body = fc.oneof(
  fc.constantFrom(
    'http.body == null',
    'http.body.contains("secret")',
    'http.body_size > 3',
    'http.body != null && http.body == ""',
  ),
  fc.constantFrom(
    'http.json.a == 1',
    'http.json == null',
    'has(http.json.b)',
    'http.json.?b.orValue("y") == "x"',
    'http.json[0] == 1',
  ),
  fc.constantFrom(
    'http.json.l.exists(i, i == "x")',
    'http.json.l.all(i, i > 0)',
    'http.json.a > 0',
    '"a" in http.json',
    'http.json == "text"',
  ),
);

/** Atoms about the ClientHello. */
const ofHello = fc.constantFrom(
  'tls.version == "1.3"',
  '"h2" in tls.alpn',
  'tls.alpn.all(p, p != "h2")',
  'tls.alpn == ["h2", "http/1.1"]',
);

/** Atoms about the certificate. */
const ofCertificate = fc.constantFrom(
  'tls.cert.issuer_cn == "CA"',
  'tls.cert.subject_cn.endsWith(".com")',
  '"a.com" in tls.cert.san',
  'tls.cert.san[0] == "a.com"',
  'tls.cert.not_after > "2027"',
);

export interface ConditionShape {
  readonly withBody?: boolean;
  readonly earlyOnly?: boolean;
  /** Names of TLS: none, those of the ClientHello, those of the certificate too. */
  readonly tls?: 'none' | 'hello' | 'all';
}

/** Well-typed conditions of bounded depth. */
export function conditions(shape: ConditionShape = {}): fc.Arbitrary<string> {
  const { withBody = true, earlyOnly = false, tls = 'none' } = shape;
  const atoms = fc.oneof(
    early,
    ...(earlyOnly ? [] : [late]),
    ...(earlyOnly || !withBody ? [] : [body]),
    ...(tls === 'none' ? [] : [ofHello]),
    ...(tls === 'all' ? [ofCertificate] : []),
  );
  return fc
    .letrec<{ node: string }>((tie) => ({
      node: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        atoms,
        fc.tuple(tie('node'), fc.constantFrom('&&', '||'), tie('node')).map(([a, op, b]) => `(${a} ${op} ${b})`),
        tie('node').map((a) => `!(${a})`),
        fc.tuple(tie('node'), tie('node'), tie('node')).map(([a, b, c]) => `(${a} ? ${b} : ${c})`),
        fc.tuple(tie('node'), fc.constantFrom('==', '!='), tie('node')).map(([a, op, b]) => `((${a}) ${op} (${b}))`),
        tie('node').map((a) => `["p", "q"].exists(v, v == "q" && (${a}))`),
        tie('node').map((a) => `cel.bind(bound, ${a}, bound || !bound)`),
      ),
    }))
    .node.filter(withinLimits);
}

/** The generator may nest further than rules may; anything else that is wrong with its conditions must show. */
function withinLimits(source: string): boolean {
  const checked = checkCondition(source);
  return checked.ok || !checked.faults.some(({ message }) => /nested|exceeds a limit|syntax nodes/.test(message));
}

const headers = fc
  .subarray(['Host: a.com', 'X-A: 1', 'x-a: 2', 'Accept: */*', 'Cookie: a=1', 'cookie: b=2', 'X-B: 3'])
  .map((lines) => lines.flatMap((line) => line.split(': ')));

export const hosts: fc.Arbitrary<string> = fc.constantFrom(...HOSTS, 'other.net');

/** Requests with their body read, or not there to be read. */
export const requests: fc.Arbitrary<RequestFacts & { readonly body: string | null }> = fc
  .record({
    agent: fc.record({
      name: fc.constantFrom('', 'one'),
      image: fc.constant(''),
      labels: fc.constantFrom<Readonly<Record<string, string>>>({}, { team: 'red' }, { team: 'blue', x: 'y' }),
      ip: fc.constantFrom('10.203.0.7', '192.168.1.1'),
    }),
    host: hosts,
    port: fc.constantFrom(80, 443, 8080),
    scheme: fc.constant<'https'>('https'),
    method: fc.constantFrom(...METHODS, 'PUT'),
    target: fc.constantFrom(...PATHS),
    headers,
    body: fc.constantFrom(...BODIES, null),
  })
  .map((facts) => ({ ...facts, host: facts.host as Host, bodySize: facts.body?.length ?? 9 }));
