/**
 * The product's proxy in this process, on an ephemeral port of loopback, wired as the daemon wires a worker: real rules,
 * real upstream, real signer. Its audit records, its log and its clock are the test's.
 */
import { randomBytes } from 'node:crypto';
import net, { type AddressInfo } from 'node:net';
import { FlowCounts } from '../../src/audit/flow-counts.ts';
import type { AgentFacts } from '../../src/domain/facts.ts';
import { CidrSet } from '../../src/domain/ip.ts';
import type { AuditRecord } from '../../src/domain/record.ts';
import type { Enforcement } from '../../src/domain/verdict.ts';
import { loadRules, type RuleSource } from '../../src/policy/load.ts';
import { formatProblem } from '../../src/policy/problem.ts';
import type { RuleSet } from '../../src/policy/rule-set.ts';
import type { ProxyDeps, ProxyOptions } from '../../src/proxy/deps.ts';
import type { Interception } from '../../src/proxy/interception.ts';
import { ProxyServer } from '../../src/proxy/server.ts';
import { Upstream, type UpstreamOptions } from '../../src/upstream/upstream.ts';
import { TestClock, WatchedClock } from './clock.ts';
import { type Resolver, startResolver, type Zone } from './resolver.ts';
import { Seen } from './seen.ts';
import { startSigner, type TestSigner } from './signer.ts';
import { KIT_DEADLINE_MS, within } from './within.ts';

/** design.md's defaults. */
const OPTIONS: Omit<ProxyOptions, 'ticketKeys'> = {
  maxHeadBytes: 65_536,
  maxHeaders: 256,
  headTimeoutMs: 10_000,
  helloTimeoutMs: 10_000,
  idleTimeoutMs: 300_000,
  maxConnectionsPerAgent: 1_024,
  bodyCapBytes: 1_048_576,
  logQueryValues: false,
};
const DRAIN_MS = 0;

export interface ProxyTestOptions {
  /** The text of one rule file, or several files. */
  readonly rules: string | readonly RuleSource[];
  /** Loads a CA and interception; default: none. */
  readonly ca?: boolean | { readonly algorithm: 'rsa' | 'ecdsa' };
  readonly options?: Partial<ProxyOptions>;
  /** As --enforcement of the daemon. */
  readonly enforcement?: Enforcement;
  /** PEM trusted for origins beside the system's roots. */
  readonly trust?: readonly string[];
  /** What the proxy's own resolver (in `resolver`) knows; it is asked unless `dnsServers` names others. */
  readonly zone?: Zone;
  readonly dnsServers?: readonly string[];
  /** Default: loopback, where all test origins are. */
  readonly allowPrivate?: readonly string[];
  readonly upstream?: Partial<UpstreamOptions>;
  /** What is known of agents by source address; default: a name `agent-<last number>`. */
  readonly agents?: (ip: string) => AgentFacts;
  /** PEM files beside the rules, by name. */
  readonly anchors?: Readonly<Record<string, string>>;
}

/** A line of the proxy's diagnostics. */
export interface Said {
  readonly level: 'error' | 'warn' | 'info';
  readonly fields: object;
  readonly message: string;
}

export class TestProxy implements AsyncDisposable {
  readonly port: number;
  readonly server: ProxyServer;
  readonly records: Seen<AuditRecord>;
  readonly said: Seen<Said>;
  readonly clock: TestClock;
  readonly resolver: Resolver;
  /** Present with a CA. */
  readonly signer: TestSigner | undefined;
  /** The audit sink says it cannot write. */
  auditBlocked = false;
  readonly #parts: Parts;

  constructor(parts: Parts, server: ProxyServer) {
    this.#parts = parts;
    this.server = server;
    this.port = (parts.listener.address() as AddressInfo).port;
    this.records = parts.records;
    this.said = parts.said;
    this.clock = parts.clock;
    this.resolver = parts.resolver;
    this.signer = parts.signer;
  }

  /** What agents must trust to be intercepted; throws without a CA. */
  get caPem(): string {
    if (this.signer === undefined) throw new Error('this proxy has no CA');
    return this.signer.caPem;
  }

  get rules(): RuleSet {
    return this.#parts.rules;
  }

  /** Puts other rules in force; open flows that they do not admit are closed. Throws when they do not load. */
  reload(rules: string | readonly RuleSource[]): void {
    this.#parts.rules = compile(rules, this.#parts, this.#parts.rules.generation + 1);
    this.server.reload(this.#parts.rules);
  }

  /**
   * Moves the clock and resolves once the proxy has looked at its deadlines with it. While nothing else is under way:
   * the proxy also reads the clock when it accepts and when it records.
   */
  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await within(this.#parts.doorClock.nextRead(), KIT_DEADLINE_MS, 'a sweep of the deadlines');
  }

  /** The next record not handed out yet that fits. */
  nextRecord(predicate?: (record: AuditRecord) => boolean): Promise<AuditRecord> {
    return this.records.next(predicate);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { listener, upstream, signer, resolver } = this.#parts;
    const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
    await this.server.drain(DRAIN_MS);
    await closed;
    upstream.close();
    await resolver[Symbol.asyncDispose]();
    await signer?.[Symbol.asyncDispose]();
  }
}

interface Parts {
  rules: RuleSet;
  readonly caLoaded: boolean;
  readonly enforcement: Enforcement;
  readonly anchors: ReadonlyMap<string, string>;
  readonly listener: net.Server;
  readonly upstream: Upstream;
  readonly resolver: Resolver;
  readonly signer: TestSigner | undefined;
  readonly records: Seen<AuditRecord>;
  readonly said: Seen<Said>;
  readonly clock: TestClock;
  /** The same time, as the doors read it and nothing else does. */
  readonly doorClock: WatchedClock;
}

export async function startProxy(options: ProxyTestOptions): Promise<TestProxy> {
  const parts = await makeParts(options);
  const proxy: { current: TestProxy | undefined } = { current: undefined };
  const deps = await makeDeps(parts, options, () => proxy.current?.auditBlocked ?? false);
  const server = new ProxyServer(deps);
  parts.listener.on('connection', (socket) => server.accept(socket));
  await new Promise<void>((resolve) => parts.listener.listen(0, '127.0.0.1', resolve));
  proxy.current = new TestProxy(parts, server);
  return proxy.current;
}

async function makeParts(options: ProxyTestOptions): Promise<Parts> {
  const caLoaded = options.ca !== undefined && options.ca !== false;
  const anchors = new Map(Object.entries(options.anchors ?? {}));
  const resolver = await startResolver(options.zone);
  const enforcement = options.enforcement ?? 'enforce';
  const rules = compile(options.rules, { caLoaded, enforcement, anchors }, 1);
  const clock = new TestClock();
  const parts = {
    rules,
    caLoaded,
    enforcement,
    anchors,
    listener: net.createServer({ allowHalfOpen: true }),
    upstream: makeUpstream(options, options.dnsServers ?? [resolver.address], clock),
    resolver,
    signer: undefined as TestSigner | undefined,
    records: new Seen<AuditRecord>('audit record'),
    said: new Seen<Said>('line of the log'),
    clock,
    doorClock: new WatchedClock(clock),
  };
  if (caLoaded) {
    const algorithm = typeof options.ca === 'object' ? options.ca.algorithm : 'ecdsa';
    parts.signer = await startSigner({ algorithm, mayMint: (host) => parts.rules.couldIntercept(host) });
  }
  return parts;
}

function makeUpstream(options: ProxyTestOptions, dnsServers: readonly string[], clock: TestClock): Upstream {
  const allowPrivate = CidrSet.parse(options.allowPrivate ?? ['127.0.0.0/8']);
  if (!allowPrivate.ok) throw new Error(`allowPrivate: ${JSON.stringify(allowPrivate.problems)}`);
  return new Upstream({
    dnsServers,
    upstreamCaPem: options.trust ?? [],
    allowPrivate: allowPrivate.value,
    ownAddresses: () => new Set(),
    connectTimeoutMs: 5_000,
    idleTimeoutMs: 55_000,
    maxIdlePerOrigin: 32,
    clock,
    ...options.upstream,
  });
}

async function makeDeps(parts: Parts, options: ProxyTestOptions, blocked: () => boolean): Promise<ProxyDeps> {
  const say = (level: Said['level']) => (fields: object, message: string) =>
    parts.said.push({ level, fields, message });
  const proxyOptions: ProxyOptions = { ...OPTIONS, ticketKeys: randomBytes(48), ...options.options };
  return {
    options: proxyOptions,
    rules: () => parts.rules,
    upstream: parts.upstream,
    interception: parts.signer === undefined ? undefined : await loadInterception(parts.signer, proxyOptions),
    caBundle: () => parts.signer?.caPem,
    audit: {
      write: (record) => parts.records.push(record),
      get blocked() {
        return blocked();
      },
    },
    counts: new FlowCounts(),
    agents: { factsOf: options.agents ?? numberedAgent },
    clock: parts.doorClock,
    log: { error: say('error'), warn: say('warn'), info: say('info') },
  };
}

/** Imported only here, as the daemon does: without a CA the module is never loaded. */
async function loadInterception(signer: TestSigner, options: ProxyOptions): Promise<Interception> {
  const { createInterception } = await import('../../src/proxy/intercept.ts');
  return createInterception(signer.leaves, options.ticketKeys);
}

function compile(
  rules: string | readonly RuleSource[],
  { caLoaded, enforcement, anchors }: Pick<Parts, 'caLoaded' | 'enforcement' | 'anchors'>,
  generation: number,
): RuleSet {
  const sources = typeof rules === 'string' ? [{ file: 'rules.yaml', text: rules }] : rules;
  const result = loadRules(sources, { caLoaded, enforcement, anchors, generation });
  if (!result.ok) throw new Error(`rules do not load:\n${result.problems.map(formatProblem).join('\n')}`);
  return result.rules;
}

function numberedAgent(ip: string): AgentFacts {
  return { name: `agent-${ip.split('.').at(-1)}`, image: 'agent:test', labels: {}, ip };
}
