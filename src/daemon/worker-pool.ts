/**
 * The workers of one daemon: started, given each rule set, replaced when they die, drained together.
 * Holds no rules and no key. Threats rows 33 (all take a generation), 36.
 */
import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Log } from '../audit/log.ts';
import type { Sample } from '../audit/metrics.ts';
import type { WorkerStatus } from '../domain/admin-api.ts';
import type { Host } from '../domain/hostname.ts';
import { type ChildExit, KeptChild } from './kept-child.ts';
import type { FromWorker, RulesPayload, ToWorker, WorkerStart } from './messages.ts';
import type { UserAndGroup } from './option-checks.ts';
import { WorkerFigures } from './worker-figures.ts';

/** A worker that has not taken a rule set by then hangs, and is replaced by one that has it from the start. */
const TAKE_RULES_MS = 10_000;
/** A worker that is too busy to answer is shown without its figures. */
const STATUS_MS = 1_000;
/** So often workers are asked though nobody wants to know: what one that dies has counted since is lost. */
const FIGURES_EVERY_MS = 10_000;
/** Beyond the grace: time to reset what is left and to write the last records. */
const DRAIN_MARGIN_MS = 3_000;

const WORKER_EXEC_ARGV = [
  // SIGUSR1 would open a debugger on a port, in a process that holds plaintext.
  '--disable-sigusr1',
  // By default the garbage of a burst of handshakes may fill three times 16 MiB, and stays for as long as nothing happens.
  '--max-semi-space-size=4',
];

export type WorkerSettings = Omit<WorkerStart, 'type' | 'name' | 'port' | 'rules'>;

export interface PoolHooks {
  /** Takes the audit records of the worker that is started next. */
  readonly takeOutput: () => (bytes: Buffer) => void;
  /** A new worker process: its channel may carry leaf requests. */
  onStart(process: ChildProcess, output: Socket): void;
  /** A worker has its settings; what else must it be told. */
  onBegin(tell: (message: ToWorker) => void): void;
  /** Which name this synthetic address stands for; undefined for none. */
  nameOf(address: string): Host | undefined;
}

export interface PoolOptions {
  readonly count: number;
  readonly entry: string;
  readonly environment: NodeJS.ProcessEnv;
  /** --worker-user and --transparent-fd */
  readonly user: UserAndGroup | undefined;
  readonly transparentFd: number | undefined;
  readonly log: Log;
  readonly hooks: PoolHooks;
}

/** A worker could not begin to serve; `code` is the system's (EADDRINUSE) or `worker_died`. */
export class StartFailure extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

interface Slot {
  readonly id: number;
  readonly child: KeptChild<ToWorker, FromWorker>;
  begun: boolean;
  listening: boolean;
  generation: number;
  openFlows: number | undefined;
  auditBlocked: boolean;
  /** Resolves on the first of: it took the generation asked for, it died. */
  taking: { readonly generation: number; readonly resolve: () => void } | undefined;
  asked: (() => void) | undefined;
  asking: Promise<void> | undefined;
}

export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #slots: Slot[];
  readonly #figures = new WorkerFigures();
  #settings: WorkerSettings | undefined;
  #rules: RulesPayload | undefined;
  #port = 0;
  #asking: NodeJS.Timeout | undefined;
  #starting: { readonly resolve: () => void; readonly reject: (error: StartFailure) => void } | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.count }, (_, id) => this.#makeSlot(id));
  }

  /** Starts the processes, so that they load their code while the rules are read; they serve nothing yet. */
  async prepare(): Promise<void> {
    await Promise.all(this.#slots.map(({ child }) => child.start()));
  }

  /** Lets all workers serve the rule set last given. Resolves to the port when all listen; rejects with StartFailure. */
  async begin(settings: WorkerSettings, port: number): Promise<number> {
    this.#settings = settings;
    this.#port = port;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#starting = { resolve, reject };
    // With port 0 the first worker finds a free one, and the others share that.
    for (const slot of port === 0 ? this.#slots.slice(0, 1) : this.#slots) this.#begin(slot);
    await promise;
    this.#starting = undefined;
    this.#asking = setInterval(() => void this.status(), FIGURES_EVERY_MS).unref();
    return this.#port;
  }

  get processes(): readonly ChildProcess[] {
    return this.#slots.map(({ child }) => child.process).filter((process) => process !== undefined);
  }

  get allListening(): boolean {
    return this.#slots.every(({ listening }) => listening);
  }

  get anyListening(): boolean {
    return this.#slots.some(({ listening }) => listening);
  }

  /** Gives the set to each worker; resolves when each that lives has it. Those that start later start with it. */
  async takeRules(rules: RulesPayload): Promise<void> {
    this.#rules = rules;
    await Promise.all(this.#slots.filter(({ begun }) => begun).map((slot) => this.#giveRules(slot, rules)));
  }

  tellAll(message: ToWorker): void {
    for (const { child } of this.#slots) child.send(message);
  }

  async status(): Promise<readonly WorkerStatus[]> {
    await Promise.all(this.#slots.map((slot) => this.#ask(slot)));
    return this.#slots.map(({ id, child, listening, openFlows, generation }) => ({
      id,
      pid: child.pid ?? null,
      listening,
      open_flows: openFlows ?? null,
      generation,
      restarts: child.restarts,
    }));
  }

  /** Of the last status(), and of workers that are gone. */
  get samples(): Iterable<Sample> {
    return this.#figures.all();
  }

  /** Of the last status(). */
  get auditBlocked(): boolean {
    return this.#slots.some(({ auditBlocked }) => auditBlocked);
  }

  /** Stops accepting; resolves when all workers are gone, within the grace and a little. May be called again with less. */
  async drain(graceMs: number): Promise<void> {
    clearInterval(this.#asking);
    const gone = Promise.all(this.#slots.map(({ child }) => child.stop()));
    this.tellAll({ type: 'drain', graceMs });
    const deadline = setTimeout(() => {
      for (const { child } of this.#slots) child.kill();
    }, graceMs + DRAIN_MARGIN_MS);
    await gone;
    clearTimeout(deadline);
  }

  #makeSlot(id: number): Slot {
    const { entry, environment, hooks, user, transparentFd } = this.#options;
    const child = new KeptChild<ToWorker, FromWorker>({
      entry,
      environment,
      role: 'worker',
      user,
      inherit: transparentFd,
      execArgv: WORKER_EXEC_ARGV,
      takeOutput: hooks.takeOutput,
      onStart: (process, output) => {
        hooks.onStart(process, output as Socket);
        if (slot.begun) this.#begin(slot);
      },
      onMessage: (message) => this.#receive(slot, message),
      onExit: (exit) => this.#exited(slot, exit),
    });
    const slot: Slot = {
      id,
      child,
      begun: false,
      listening: false,
      generation: 0,
      openFlows: undefined,
      auditBlocked: false,
      taking: undefined,
      asked: undefined,
      asking: undefined,
    };
    return slot;
  }

  #begin(slot: Slot): void {
    if (this.#settings === undefined || this.#rules === undefined)
      throw new TypeError('workers begin after settings and rules');
    slot.begun = true;
    slot.child.send({ type: 'start', name: nameOf(slot), port: this.#port, rules: this.#rules, ...this.#settings });
    this.#options.hooks.onBegin((message) => slot.child.send(message));
  }

  #receive(slot: Slot, message: FromWorker): void {
    switch (message.type) {
      case 'listening':
        this.#nowListening(slot, message.port);
        break;
      case 'listen_failed':
        this.#options.log.error({ event: 'listen_failed', worker: slot.id, code: message.code }, message.message);
        this.#starting?.reject(new StartFailure(message.code, message.message));
        break;
      case 'rules_taken':
        tookRules(slot, message.generation);
        break;
      case 'which_name': {
        const { address } = message;
        slot.child.send({ type: 'name_of', address, host: this.#options.hooks.nameOf(address) });
        break;
      }
      case 'worker_status':
        slot.openFlows = message.openFlows;
        slot.auditBlocked = message.auditBlocked;
        this.#figures.take(slot.id, message.samples);
        slot.asked?.();
        break;
    }
  }

  #nowListening(slot: Slot, port: number): void {
    slot.listening = true;
    this.#port = port;
    if (slot.child.restarts > 0)
      this.#options.log.info({ event: 'worker_replaced', worker: slot.id }, `${nameOf(slot)} serves again`);
    for (const other of this.#slots) if (!other.begun) this.#begin(other);
    if (this.allListening) this.#starting?.resolve();
  }

  #exited(slot: Slot, exit: ChildExit): void {
    slot.listening = false;
    slot.openFlows = undefined;
    slot.taking?.resolve();
    slot.asked?.();
    this.#figures.keep(slot.id);
    if (exit.restartInMs === undefined) return;
    const { pid, code, signal, restartInMs } = exit;
    this.#options.log.error(
      { event: 'worker_died', worker: slot.id, pid, code, signal, restart_in_ms: restartInMs },
      `${nameOf(slot)} died and is replaced`,
    );
    this.#starting?.reject(
      new StartFailure('worker_died', `${nameOf(slot)} ended while starting (code ${code}, signal ${signal})`),
    );
  }

  async #giveRules(slot: Slot, rules: RulesPayload): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    slot.taking = { generation: rules.generation, resolve };
    if (!slot.child.send({ type: 'rules', rules })) resolve();
    const deadline = setTimeout(() => {
      this.#options.log.error(
        { event: 'worker_hangs', worker: slot.id },
        `${nameOf(slot)} does not take the rules and is replaced`,
      );
      slot.child.kill();
    }, TAKE_RULES_MS);
    await promise;
    clearTimeout(deadline);
    slot.taking = undefined;
  }

  /** One question at a time; who asks meanwhile gets the answer to that. */
  #ask(slot: Slot): Promise<void> {
    slot.asking ??= this.#askOnce(slot).finally(() => {
      slot.asking = undefined;
    });
    return slot.asking;
  }

  async #askOnce(slot: Slot): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    slot.asked = resolve;
    if (!slot.listening || !slot.child.send({ type: 'worker_status' })) resolve();
    const deadline = setTimeout(resolve, STATUS_MS);
    await promise;
    clearTimeout(deadline);
  }
}

function tookRules(slot: Slot, generation: number): void {
  slot.generation = generation;
  if (slot.taking !== undefined && generation >= slot.taking.generation) slot.taking.resolve();
}

function nameOf(slot: Slot): string {
  return `worker-${slot.id}`;
}
