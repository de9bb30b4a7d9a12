/**
 * outcalld itself: holds no key, parses no agent bytes but DNS, keeps the others alive and in step (threats 27, 33, 36, 40).
 *   1. start: processes load their code from the first moment on; the network is locked before anything listens; the rules
 *      are read; DNS, then the workers serve; any fault here ends it with exit 1
 *   2. ready: workers listen, the admin socket answers, the rules are watched
 *   3. stop: nothing new is accepted, open flows get the grace, the rest is reset, records are written, exit 0
 */
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { FlowCounts } from '../audit/flow-counts.ts';
import { LineWriter } from '../audit/line-writer.ts';
import type { Log } from '../audit/log.ts';
import { OwnRecords } from '../audit/own-records.ts';
import { ProcessFigures } from '../audit/process-figures.ts';
import { RecordFeed } from '../audit/record-feed.ts';
import type { DaemonState } from '../domain/admin-api.ts';
import { hostInUrl } from '../domain/hostname.ts';
import { formatProblem } from '../policy/problem.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { adminBackend } from './admin-backend.ts';
import { AgentDirectory } from './agents.ts';
import { openAgentsFile } from './agents-file.ts';
import type { AgentsNetwork } from './agents-network.ts';
import { quickAllocator } from './allocator.ts';
import type { CaKeeper } from './ca-keeper.ts';
import { makeCaKeeper } from './ca-source.ts';
import type { RulesPayload, ToWorker } from './messages.ts';
import type { OperatorPorts } from './operator-ports.ts';
import type { DaemonOptions } from './options.ts';
import type { RulesKeeper } from './rules-keeper.ts';
import { watchRules } from './rules-watch.ts';
import { checkUsers, probePort, readUpstreamCa, StartRefused, startRefusal } from './start-checks.ts';
import { WorkerOutputs } from './worker-outputs.ts';
import { WorkerPool } from './worker-pool.ts';

const STDOUT_FD = 1;
/** Workers send whole batches; this long one waits for those of the others. */
const PASS_ON_AFTER_MS = 5;
/** RFC 5077 tickets in OpenSSL: 16 bytes of name, 16 of HMAC key, 16 of AES key. */
const TICKET_KEYS_BYTES = 48;
/** Records that standard output has not taken by then are lost: its reader is gone. */
const LAST_FLUSH_MS = 2_000;

export interface SupervisorSetup {
  readonly options: DaemonOptions;
  readonly version: string;
  /** The file that children run: this program's own entry. */
  readonly entry: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
  /** When the process began, for the time to ready. */
  readonly startedAt: Date;
}

export class Supervisor {
  readonly #setup: SupervisorSetup;
  readonly #output: LineWriter;
  readonly #feed: RecordFeed;
  readonly #own: OwnRecords;
  readonly #workerOutputs: WorkerOutputs;
  readonly #pool: WorkerPool;
  readonly #agents: AgentDirectory;
  /** Of DNS. */
  readonly #counts = new FlowCounts();
  readonly #process = new ProcessFigures('outcalld');
  #keeper: RulesKeeper | undefined;
  #ca: CaKeeper | undefined;
  #signerTakes: Promise<void> | undefined;
  #network: AgentsNetwork | undefined;
  #operator: OperatorPorts | undefined;
  #unwatch: (() => void) | undefined;
  #port = 0;
  #phase: 'starting' | 'serving' | 'draining' = 'starting';
  #outputFails = false;

  constructor(setup: SupervisorSetup) {
    const { options, entry, environment, log } = setup;
    this.#setup = setup;
    this.#agents = new AgentDirectory(() => this.#agentsChanged(), openAgentsFile(options.agentsFile, log));
    this.#output = new LineWriter(STDOUT_FD, {
      flushAfterMs: PASS_ON_AFTER_MS,
      onTrouble: (error) => this.#outputTrouble(error),
      onProgress: () => this.#workerOutputs.resume(),
    });
    this.#feed = new RecordFeed(this.#output);
    this.#own = new OwnRecords(this.#feed.source(), () => this.#outputFails || this.#feed.full);
    this.#workerOutputs = new WorkerOutputs(this.#feed);
    this.#pool = new WorkerPool({
      count: options.workers === 0 ? availableParallelism() : options.workers,
      entry,
      environment: { ...environment, ...quickAllocator() },
      user: options.workerUser,
      transparentFd: options.transparentFd,
      log,
      hooks: {
        nameOf: (address) => this.#network?.nameOf(address),
        takeOutput: () => this.#workerOutputs.sink(),
        onStart: (worker, output) => {
          this.#ca?.serve(worker);
          this.#workerOutputs.add(output);
        },
        onBegin: (tell) => this.#brief(tell),
      },
    });
  }

  /** Resolves when agents are served; rejects with StartRefused, and then everything is stopped again. */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop(0);
      throw startRefusal(error, this.#setup.options);
    }
  }

  /** SIGHUP: takes what is on disk; a bad set is in the log and changes nothing. */
  async reload(): Promise<void> {
    await this.#keeper?.reload(true);
  }

  /** Ends the daemon; resolves when all is done. May be called again with less grace. */
  async stop(graceMs: number): Promise<void> {
    this.#phase = 'draining';
    this.#unwatch?.();
    await this.#pool.drain(graceMs);
    await this.#closeNetwork();
    await this.#ca?.stop();
    this.#own.flush();
    await Promise.race([this.#output.flush(), new Promise((resolve) => setTimeout(resolve, LAST_FLUSH_MS))]);
    await this.#operator?.close();
  }

  get state(): DaemonState {
    if (this.#phase !== 'serving') return this.#phase;
    if (this.#network?.lockState === 'broken') return 'unlocked';
    return this.#pool.allListening && !this.#outputFails ? 'ready' : 'degraded';
  }

  async #start(): Promise<void> {
    const { options } = this.#setup;
    const upstreamCaPem = readUpstreamCa(options.upstreamCa);
    checkUsers(options);
    // They serve nothing before they are told to. While they load their code, so does this process.
    await this.#pool.prepare();
    await this.#lockNetwork();
    await probePort(options.listen);
    const { ready } = await this.#openCa();
    const [keeper] = await Promise.all([this.#makeKeeper(), this.#openAdmin(), ready]);
    const loaded = await keeper.reload(true);
    if (!loaded.ok) throw new StartRefused(loaded.problems.map(formatProblem));
    await this.#network?.openDns();
    const operatorPorts = this.#operator?.ports ?? [];
    const settings = { options, upstreamCaPem, ticketKeys: randomBytes(TICKET_KEYS_BYTES), operatorPorts };
    this.#port = await this.#pool.begin(settings, options.listen.port);
    await this.#signerTakes;
    this.#unwatch = watchRules(options.rules, () => void keeper.reload(false));
    this.#phase = 'serving';
    this.#sayReady();
  }

  /** Without a pool nothing of this is even imported. */
  async #lockNetwork(): Promise<void> {
    const { options, log } = this.#setup;
    if (options.pool === undefined) return;
    const { AgentsNetwork } = await import('./agents-network.ts');
    this.#network = new AgentsNetwork({
      options,
      log,
      agents: this.#agents,
      audit: this.#own,
      counts: this.#counts,
      rules: () => this.#keeper?.inForce?.rules ?? noRulesYet(),
      onNameChanged: (address) => this.#pool.tellAll({ type: 'name_changed', address }),
      onAddresses: (addresses) => this.#pool.tellAll({ type: 'listen_at', addresses }),
    });
    await this.#network.lock();
  }

  /** A second stop, with less grace, finds it closed. */
  async #closeNetwork(): Promise<void> {
    const network = this.#network;
    this.#network = undefined;
    await network?.close();
  }

  async #makeKeeper(): Promise<RulesKeeper> {
    const { options, log } = this.#setup;
    const { RulesKeeper } = await import('./rules-keeper.ts');
    const distribute = (payload: RulesPayload) => this.#distribute(payload);
    const taken = async (rules: RuleSet) => this.#network?.takeRules(rules);
    const ca = () => {
      const current = this.#ca?.cas.current;
      return { loaded: current !== undefined, constraints: current?.constraints };
    };
    const { rules: path, enforcement } = options;
    this.#keeper = new RulesKeeper({ path, ca, enforcement, log, distribute, taken });
    return this.#keeper;
  }

  async #openAdmin(): Promise<void> {
    const { OperatorPorts } = await import('./operator-ports.ts');
    this.#operator = new OperatorPorts();
    await this.#operator.open(this.#setup.options, this.#backend());
  }

  /** Resolves when a signer, if there is one, has begun to load its code; `ready` is when it has the CA. */
  async #openCa(): Promise<{ readonly ready: Promise<void> | undefined }> {
    this.#ca = await makeCaKeeper({
      ...this.#setup,
      ...{ rules: () => this.#keeper, agents: () => this.#agents.entries },
      tellWorkers: (message) => this.#pool.tellAll(message),
    });
    for (const worker of this.#pool.processes) this.#ca?.serve(worker);
    return { ready: this.#ca?.start() };
  }

  #sayReady(): void {
    const { options, log, startedAt } = this.#setup;
    const listen = `${hostInUrl(options.listen.host)}:${this.#port}`;
    const ready_ms = Date.now() - startedAt.getTime();
    log.info(
      { event: 'ready', listen, interception: this.#ca?.cas.current !== undefined, ready_ms },
      `listening on ${listen}`,
    );
  }

  /**
   * To the signer first: a worker that has the set may ask for its leaves at once, and what it asks comes after the set. At
   * the start workers read it while the signer does.
   */
  async #distribute(payload: RulesPayload): Promise<void> {
    this.#signerTakes = this.#ca?.takeRules(payload);
    if (this.#phase !== 'starting') await this.#signerTakes;
    await this.#pool.takeRules(payload);
  }

  /** What a worker must know beside settings and rules. */
  #brief(tell: (message: ToWorker) => void): void {
    tell({ type: 'agents', agents: this.#agents.entries });
    tell({ type: 'listen_at', addresses: this.#network?.isolatedAddresses ?? [] });
    if (this.#ca !== undefined) tell(this.#ca.news);
    if (this.#outputFails) tell({ type: 'audit_hold', held: true });
  }

  #agentsChanged(): void {
    this.#pool.tellAll({ type: 'agents', agents: this.#agents.entries });
    const rules = this.#keeper?.inForce?.rules;
    // A port that only the former name of an address had is taken away.
    if (rules !== undefined) void this.#network?.takeRules(rules);
  }

  /** Each worker refuses new flows while its records could not be passed on (audit_unavailable). */
  #outputTrouble(error: NodeJS.ErrnoException | undefined): void {
    const { log } = this.#setup;
    this.#outputFails = error !== undefined;
    this.#pool.tellAll({ type: 'audit_hold', held: this.#outputFails });
    if (error === undefined) log.info({ event: 'audit_restored' }, 'standard output takes audit records again');
    else
      log.error(
        { event: 'audit_failed', code: error.code },
        'standard output does not take audit records: new flows are refused',
      );
  }

  #backend(): ReturnType<typeof adminBackend> {
    return adminBackend({
      version: this.#setup.version,
      options: this.#setup.options,
      startedAt: this.#setup.startedAt,
      pool: this.#pool,
      feed: this.#feed,
      agents: this.#agents,
      counts: this.#counts,
      process: this.#process,
      keeper: () => this.#keeper,
      ca: () => this.#ca,
      network: () => this.#network,
      port: () => this.#port,
      operator: () => this.#operator,
      state: () => this.state,
      outputFails: () => this.#outputFails,
    });
  }
}

function noRulesYet(): never {
  throw new TypeError('names are answered by rules alone, and DNS opens after they are there');
}
