/**
 * The facts of one decision, as conditions read them. `undefined` in a field is "not known in this phase"; maps are
 * built only when a condition looks at them, and once. One Frame serves all decisions of a rule set, in turn.
 * Upholds: threats 28 and 29 (a body that was not readable is null, never "").
 */
import type {
  AgentFacts,
  CertificateFacts,
  ConnectFacts,
  HeaderList,
  NameFacts,
  RequestFacts,
  ResponseFacts,
  Scheme,
  TlsFacts,
} from '../domain/facts.ts';
import type { Host } from '../domain/hostname.ts';
import { Budget, CelError, type CelMap, type Known, OUT_OF_BUDGET, spendChars, type Value } from './cel-value.ts';
import { EVALUATION_STEPS } from './limits.ts';

const NO_HEADERS: HeaderList = [];
const NO_HELLO = new CelError('no_value', 'the ClientHello of this connection was not kept');
const NO_CERTIFICATE = new CelError('no_value', "the server's certificate cannot be seen");
/** Names and values of header fields that are looked at in one step. */
const FIELDS_PER_STEP_LOG2 = 3;

export class Frame extends Budget {
  agent: AgentFacts | undefined;
  host: Host | undefined;
  port: number | undefined;
  scheme: Scheme | undefined;
  /** Empty outside DNS. */
  recordType = '';
  method: string | undefined;
  /** Path and query. */
  path: string | undefined;
  headers: HeaderList | undefined;
  bodySize: number | undefined;
  body: string | null | undefined;
  /** null: nobody will know. So too the certificate. */
  tls: TlsFacts | null | undefined;
  certificate: CertificateFacts | null | undefined;
  response: ResponseFacts | undefined;
  #responseHeaderMap: ReadonlyMap<string, string> | undefined;
  #headerMap: ReadonlyMap<string, string> | undefined;
  #query: ReadonlyMap<string, readonly string[]> | undefined;
  #json: Known | undefined;

  /** A connection that was asked for, with what is inside not seen yet; agent and port unknown where undefined. */
  setLate(host: Host | undefined, facts: ConnectFacts | undefined): void {
    this.#setConnection(host, facts);
    this.method = undefined;
    this.path = undefined;
    this.headers = undefined;
    this.bodySize = undefined;
    this.body = undefined;
  }

  /** A name that is asked for, with what may come of it unknown, but for whether that carries TLS. Never set otherwise again. */
  setName(facts: NameFacts, scheme: Scheme): void {
    this.setLate(facts.host, undefined);
    this.agent = facts.agent;
    this.scheme = scheme;
    this.recordType = facts.recordType;
  }

  /** What an agent could ask for, with what is inside unknown; host and port too where undefined. */
  setAsked(agent: AgentFacts, scheme: Scheme, host: Host | undefined, port: number | undefined): void {
    this.setLate(host, undefined);
    this.agent = agent;
    this.scheme = scheme;
    this.port = port;
  }

  /** The connection request itself, as S006 shows it to rules: method CONNECT, path `/`, nothing else. */
  setConnect(facts: ConnectFacts): void {
    this.#setConnection(facts.host, facts);
    this.method = 'CONNECT';
    this.path = '/';
    this.headers = NO_HEADERS;
    this.bodySize = 0;
    this.body = null;
  }

  /** What TLS has shown of the connection that was set, which is TLS then. */
  setTls(tls: TlsFacts | undefined, certificate: CertificateFacts | null | undefined): void {
    this.tls = tls;
    this.certificate = certificate;
  }

  /** A request. Whether the body may be seen is set for each rule: see `showBody`. */
  setRequest(facts: RequestFacts): void {
    this.#setConnection(facts.host, facts);
    this.scheme = facts.scheme;
    this.method = facts.method;
    this.path = facts.target;
    this.headers = facts.headers;
    this.bodySize = facts.bodySize;
    this.body = null;
    this.tls = facts.tls ?? null;
    this.certificate = null;
  }

  /** The answer to the request that was set. */
  setResponse(response: ResponseFacts): void {
    this.response = response;
  }

  /** What the next rule sees of the body: everything known of it, or (without match_body) nothing but its size. */
  showBody(facts: RequestFacts, readsBody: boolean): void {
    this.body = readsBody ? facts.body : null;
    this.bodySize = readsBody && facts.body === undefined ? undefined : facts.bodySize;
  }

  /** Another spelling of the same target, with the same query. */
  setPath(path: string): void {
    this.path = path;
  }

  /** A full purse for the next condition. */
  refill(): void {
    this.steps = EVALUATION_STEPS;
  }

  get headerMap(): CelMap | undefined {
    if (this.headers === undefined) return undefined;
    this.#headerMap ??= joinHeaders(this.headers);
    return this.#headerMap;
  }

  /** The value of one header by its lower-case name, without building the map; undefined when it is absent. */
  header(name: string): string | undefined {
    const { headers = NO_HEADERS } = this;
    this.spend(headers.length >> FIELDS_PER_STEP_LOG2);
    let joined: string | undefined;
    for (let i = 0; i < headers.length; i += 2) {
      const field = headers[i] as string;
      if (field.length !== name.length || (field !== name && field.toLowerCase() !== name)) continue;
      joined = joined === undefined ? (headers[i + 1] as string) : joinValues(name, joined, headers[i + 1] as string);
    }
    return joined;
  }

  get responseHeaderMap(): CelMap | undefined {
    if (this.response === undefined) return undefined;
    this.#responseHeaderMap ??= joinHeaders(this.response.headers);
    return this.#responseHeaderMap;
  }

  /** Something of the ClientHello; `plain` where there is none to come. */
  hello(plain: Known, read: (tls: TlsFacts) => Known): Value {
    if (this.scheme === 'http') return plain;
    return this.tls === null ? NO_HELLO : this.tls && read(this.tls);
  }

  /** Something of the server's certificate; `plain` where there is none to come. */
  cert(plain: Known, read: (certificate: CertificateFacts) => Known): Value {
    if (this.scheme === 'http') return plain;
    return this.certificate === null ? NO_CERTIFICATE : this.certificate && read(this.certificate);
  }

  get query(): CelMap | undefined {
    if (this.path === undefined) return undefined;
    this.#query ??= parseQuery(this.path);
    return this.#query;
  }

  /** The body read as JSON whatever its Content-Type says; null when it is not JSON or could not be read. */
  get json(): Value {
    if (typeof this.body !== 'string') return this.body;
    if (this.#json === undefined) {
      if (spendChars(this, this.body.length)) return OUT_OF_BUDGET;
      this.#json = parseJson(this.body);
    }
    return this.#json;
  }

  #setConnection(host: Host | undefined, facts: ConnectFacts | undefined): void {
    this.host = host;
    this.agent = facts?.agent;
    this.port = facts?.port;
    // A connection that can be decrypted carries TLS; plain HTTP is decided by its request alone.
    this.scheme = 'https';
    this.tls = undefined;
    this.certificate = undefined;
    this.response = undefined;
    this.#responseHeaderMap = undefined;
    this.#headerMap = undefined;
    this.#query = undefined;
    this.#json = undefined;
  }
}

/** Names in lower case, values of one name joined as RFC 9110 section 5.3 and RFC 9113 section 8.2.3 (cookie) say. */
function joinHeaders(headers: HeaderList): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase();
    const value = headers[i + 1] as string;
    const before = map.get(name);
    map.set(name, before === undefined ? value : joinValues(name, before, value));
  }
  return map;
}

function joinValues(name: string, before: string, value: string): string {
  return `${before}${name === 'cookie' ? '; ' : ', '}${value}`;
}

/** Every value of every parameter, decoded as WHATWG application/x-www-form-urlencoded, in order. */
function parseQuery(target: string): ReadonlyMap<string, readonly string[]> {
  const map = new Map<string, string[]>();
  const start = target.indexOf('?');
  if (start === -1) return map;
  for (const [name, value] of new URLSearchParams(target.slice(start + 1))) {
    const values = map.get(name);
    if (values === undefined) map.set(name, [value]);
    else values.push(value);
  }
  return map;
}

function parseJson(text: string): Known {
  try {
    return JSON.parse(text) as Known;
  } catch {
    return null;
  }
}
