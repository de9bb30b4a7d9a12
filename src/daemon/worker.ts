/**
 * A worker process: accepts agents' connections and serves them by the rule set in force. Has no CA key; without a CA
 * it imports nothing of interception (S011-FR-022). Says nothing on standard output but audit records.
 *   1. start: settings and rules come by message, then it listens
 *   2. rules: the next generation, taken whole
 *   3. drain: stop accepting, let flows end, write the last records, exit
 */
import net from 'node:net';
import { AuditLog } from '../audit/audit-log.ts';
import { FlowCounts } from '../audit/flow-counts.ts';
import { createLog, type Log } from '../audit/log.ts';
import { ProcessFigures } from '../audit/process-figures.ts';
import { systemClock } from '../domain/clock.ts';
import { CidrSet } from '../domain/ip.ts';
import type { LeafCache } from '../pki/leaf-cache.ts';
import { loadRules } from '../policy/load.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { ProxyOptions } from '../proxy/deps.ts';
import type { Interception } from '../proxy/interception.ts';
import { ProxyServer } from '../proxy/server.ts';
import { interfaceAddresses } from '../upstream/own-addresses.ts';
import { Upstream } from '../upstream/upstream.ts';
import { AgentDirectory } from './agents.ts';
import { ipcPort } from './ipc-port.ts';
import { IsolatedDoors } from './isolated-doors.ts';
import { type FromWorker, type RulesPayload, type ToWorker, TRANSPARENT_FD, type WorkerStart } from './messages.ts';
import type { DaemonOptions } from './options.ts';
import { PoolClient } from './pool-client.ts';
import { workerSamples } from './worker-figures.ts';

/** The kernel's own default for the most that wait (net.core.somaxconn since Linux 5.4). */
const LISTEN_BACKLOG = 4096;
/** Idle connections kept per agent and origin: what a browser opens at most, and then some. */
const MAX_IDLE_PER_ORIGIN = 32;
/** Load balancers in front of origins close at 60 s and more; below that, a kept connection is rarely a dead one. */
const UPSTREAM_IDLE_MS = 50_000;

/** Serves until told to drain, or until the supervisor is gone. */
export function workerMain(): void {
  // A terminal's Ctrl-C and a service manager's SIGTERM reach the whole group; the supervisor says when.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  let worker: Promise<Worker> | undefined;
  process.on('message', (message: ToWorker) => {
    if (message.type === 'start') worker = Worker.start(message);
    else if (worker !== undefined) void worker.then((started) => started.receive(message));
    else if (message.type === 'drain') process.exit(0);
  });
  // Nobody to keep us in order any more: closed is the safe end.
  process.on('disconnect', () => process.exit(1));
}

class Worker {
  readonly #log: Log;
  readonly #audit: AuditLog;
  readonly #counts = new FlowCounts();
  readonly #process: ProcessFigures;
  readonly #agents = new AgentDirectory();
  readonly #server: ProxyServer;
  readonly #upstream: Upstream;
  readonly #listener: net.Server;
  readonly #names = new PoolClient((address) => tell({ type: 'which_name', address }), systemClock);
  /** The transparent door; undefined where there is none. */
  readonly #transparent: net.Server | undefined;
  /** The same proxy on networks of one agent. */
  readonly #doors: IsolatedDoors;
  readonly #start: WorkerStart;
  #rules: RuleSet;
  /** Loaded with the first rule set under a CA. */
  #interception: { readonly serve: Interception; readonly leaves: LeafCache } | undefined;
  #caBundle: string | undefined;
  /** Sets are taken one after the other, since loading code takes a while. */
  #taking: Promise<void> = Promise.resolve();

  static async start(start: WorkerStart): Promise<Worker> {
    process.title = `outcalld ${start.name}`;
    const worker = new Worker(start);
    if (start.rules.caLoaded) await worker.#loadInterception();
    worker.#listen(start);
    return worker;
  }

  private constructor(start: WorkerStart) {
    const { options } = start;
    this.#start = start;
    const interception = () => this.#interception?.serve;
    const bundle = () => this.#caBundle;
    this.#log = createLog({ level: options.logLevel, name: start.name });
    this.#audit = new AuditLog({
      onTrouble: (error) => error && this.#log.error({ event: 'audit_failed', code: error.code }, error.message),
    });
    this.#process = new ProcessFigures(start.name);
    this.#dieLoudly();
    this.#rules = compile(start.rules);
    this.#upstream = upstreamOf(start);
    this.#server = new ProxyServer({
      options: proxyOptions(options, start.ticketKeys),
      rules: () => this.#rules,
      upstream: this.#upstream,
      get interception() {
        return interception();
      },
      caBundle: bundle,
      audit: this.#audit,
      counts: this.#counts,
      agents: this.#agents,
      clock: systemClock,
      log: this.#log,
    });
    this.#listener = net.createServer({ allowHalfOpen: true }, (socket) => this.#server.accept(socket));
    const open = { port: start.port, reusePort: true, backlog: LISTEN_BACKLOG };
    this.#doors = new IsolatedDoors(open, (socket) => this.#server.accept(socket), this.#log);
    if (options.transparentFd !== undefined) {
      const accept = (socket: net.Socket) => this.#server.acceptTransparent(socket, this.#names);
      this.#transparent = net.createServer({ allowHalfOpen: true }, accept);
    }
  }

  receive(message: ToWorker): void {
    switch (message.type) {
      case 'start':
        break;
      case 'rules':
        this.#taking = this.#taking.then(() => this.#takeRules(message.rules));
        break;
      case 'audit_hold':
        this.#audit.hold(message.held);
        break;
      case 'worker_status':
        this.#tellStatus();
        break;
      case 'agents':
        this.#agents.replace(message.agents);
        break;
      case 'listen_at':
        this.#doors.listenAt(message.addresses);
        break;
      case 'name_of':
        this.#names.answered(message.address, message.host);
        break;
      case 'name_changed':
        this.#names.forget(message.address);
        break;
      case 'ca':
        this.#caBundle = message.bundle;
        if (message.forgetLeaves) this.#interception?.leaves.clear();
        break;
      case 'drain':
        void this.#drain(message.graceMs);
        break;
    }
  }

  #tellStatus(): void {
    const { openFlows } = this.#server;
    const samples = workerSamples({
      counts: this.#counts,
      process: this.#process,
      server: this.#server,
      upstream: this.#upstream,
      leaves: this.#interception?.leaves,
    });
    tell({ type: 'worker_status', openFlows, auditBlocked: this.#audit.blocked, samples });
  }

  #listen(start: WorkerStart): void {
    const { host } = start.options.listen;
    const failed = (error: NodeJS.ErrnoException) => {
      tell({ type: 'listen_failed', code: error.code ?? 'unknown', message: error.message });
    };
    const listening = () => {
      tell({ type: 'rules_taken', generation: start.rules.generation });
      tell({ type: 'listening', port: (this.#listener.address() as net.AddressInfo).port });
    };
    this.#listener.on('error', failed);
    this.#transparent?.on('error', failed);
    this.#listener.listen({ host, port: start.port, reusePort: true, backlog: LISTEN_BACKLOG }, () => {
      if (this.#transparent === undefined) listening();
      else this.#transparent.listen({ fd: TRANSPARENT_FD, backlog: LISTEN_BACKLOG }, listening);
    });
  }

  async #takeRules(payload: RulesPayload): Promise<void> {
    if (payload.caLoaded) await this.#loadInterception();
    this.#rules = compile(payload);
    this.#server.reload(this.#rules);
    tell({ type: 'rules_taken', generation: payload.generation });
  }

  /** The one door to the code of interception. */
  async #loadInterception(): Promise<void> {
    if (this.#interception !== undefined) return;
    const [{ createInterception }, { LeafCache }, { SignerClient }] = await Promise.all([
      import('../proxy/intercept.ts'),
      import('../pki/leaf-cache.ts'),
      import('../pki/signer-client.ts'),
    ]);
    const leaves = new LeafCache(new SignerClient(ipcPort(process)));
    this.#interception = { leaves, serve: createInterception(leaves, Buffer.from(this.#start.ticketKeys)) };
  }

  /** A second call with a shorter grace ends the first. */
  async #drain(graceMs: number): Promise<void> {
    for (const listener of [this.#listener, this.#transparent]) if (listener?.listening === true) listener.close();
    this.#doors.listenAt([]);
    await this.#server.drain(graceMs);
    this.#upstream.close();
    await this.#audit.flush();
    process.exit(0);
  }

  /** What no handler caught leaves an unknown state behind: the records are saved and another worker takes over. */
  #dieLoudly(): void {
    const die = (error: unknown) => {
      this.#log.error({ event: 'crash', err: error }, 'an internal error ends this worker');
      this.#audit.flushSync();
      process.exit(1);
    };
    process.on('uncaughtException', die);
    process.on('unhandledRejection', die);
  }
}

function tell(message: FromWorker): void {
  process.send?.(message, () => {}); // a supervisor that is gone is told by 'disconnect'
}

function compile({ sources, ...context }: RulesPayload): RuleSet {
  const loaded = loadRules(sources, context);
  // The supervisor compiled the same text, so this is a fault of ours: no worker is better than one with other rules.
  if (!loaded.ok) throw new Error('the rule set does not compile in the worker');
  return loaded.rules;
}

function upstreamOf({ options, upstreamCaPem, operatorPorts }: WorkerStart): Upstream {
  return new Upstream({
    dnsServers: options.upstreamDns,
    upstreamCaPem,
    allowPrivate: checkedSet(options.allowPrivate),
    operatorPorts: new Set(operatorPorts),
    ownAddresses: interfaceAddresses(systemClock),
    neverDial: checkedSet([options.agentsSubnet, options.isolated].filter((range) => range !== undefined)),
    connectTimeoutMs: options.connectTimeoutSecs * 1000,
    idleTimeoutMs: UPSTREAM_IDLE_MS,
    maxIdlePerOrigin: MAX_IDLE_PER_ORIGIN,
    clock: systemClock,
  });
}

function checkedSet(ranges: readonly string[]): CidrSet {
  const parsed = CidrSet.parse(ranges);
  if (!parsed.ok) throw new TypeError('the ranges of the options were checked by the supervisor');
  return parsed.value;
}

function proxyOptions(options: DaemonOptions, ticketKeys: Uint8Array): ProxyOptions {
  return {
    maxHeadBytes: options.maxHeadBytes,
    maxHeaders: options.maxHeaders,
    headTimeoutMs: options.headTimeoutSecs * 1000,
    helloTimeoutMs: options.helloTimeoutSecs * 1000,
    idleTimeoutMs: options.idleTimeoutSecs * 1000,
    maxConnectionsPerAgent: options.maxConnectionsPerAgent,
    bodyCapBytes: options.interceptBodyCapBytes,
    logQueryValues: options.logQueryValues,
    ticketKeys: Buffer.from(ticketKeys),
  };
}
