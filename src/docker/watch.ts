/**
 * Keeps agents attached: looks at all at its start, at each that starts or whose networks change, and at all again when
 * the appliance is new. One at a time; an engine that went away is waited for. Holds nothing that a restart would lose.
 */
import { type Appliance, type ApplianceOptions, caOf, findAppliance } from './appliance.ts';
import { listContainers, SHORT_ID_CHARS } from './containers.ts';
import type { Engine } from './engine.ts';
import { happenings } from './events.ts';
import { messageOf } from './failure.ts';
import { isolatedPlaces, removeOrphans } from './isolated.ts';
import { type Kept, keep } from './keep.ts';

/** The engine says nothing of a CA that is replaced; asking is a start of `outcall admin` in the appliance, some 0.1 s of CPU. */
const CA_LOOK_MS = 30_000;
/** After the engine went away, or in the middle of a start: both take seconds. */
const RETRY_MS = 2_000;

export interface WatchReport {
  kept(name: string, kept: Kept): void;
  /** Undefined name: not about one container. */
  problem(name: string | undefined, message: string): void;
}

/** Resolves when `signal` is aborted; never rejects. */
export async function watch(
  open: () => Promise<Engine>,
  options: ApplianceOptions,
  report: WatchReport,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await follow(await open(), options, report, signal);
      if (!signal.aborted) report.problem(undefined, 'the engine ended the stream of events; asking again');
    } catch (error) {
      report.problem(undefined, messageOf(error));
    }
    await pause(RETRY_MS, signal);
  }
}

/** The events are listened to before the first look, so that nothing happens unseen in between. */
async function follow(
  engine: Engine,
  options: ApplianceOptions,
  report: WatchReport,
  signal: AbortSignal,
): Promise<void> {
  const watcher = new Watcher(engine, options, report);
  watcher.lookAtAll();
  const asking = setInterval(() => watcher.lookAtCa(), CA_LOOK_MS);
  signal.addEventListener('abort', () => clearInterval(asking), { once: true });
  for await (const happening of happenings(engine, signal)) {
    if (happening.kind === 'appliance') watcher.lookAtAll();
    else watcher.lookAt(happening.id);
  }
  clearInterval(asking);
  watcher.stop();
  await watcher.idle;
}

/** Containers to be looked at, in the order in which they came up; one that comes up twice is looked at once. */
class Watcher {
  readonly #engine: Engine;
  readonly #options: ApplianceOptions;
  readonly #report: WatchReport;
  readonly #waiting = new Set<string>();
  /** Looked at once in vain: the engine tells of a container's networks before all of it is there. */
  readonly #inVain = new Map<string, NodeJS.Timeout>();
  #all = false;
  #ca = false;
  /** What agents were to trust when all were looked at last. */
  #bundle: string | undefined;
  #running: Promise<void> | undefined;

  constructor(engine: Engine, options: ApplianceOptions, report: WatchReport) {
    this.#engine = engine;
    this.#options = options;
    this.#report = report;
  }

  get idle(): Promise<void> {
    return this.#running ?? Promise.resolve();
  }

  /** No second looks are left to come. */
  stop(): void {
    for (const timer of this.#inVain.values()) clearTimeout(timer);
  }

  lookAtAll(): void {
    this.#all = true;
    this.#run();
  }

  /** All are looked at where the CA is not what it was. */
  lookAtCa(): void {
    this.#ca = true;
    this.#run();
  }

  lookAt(id: string): void {
    this.#waiting.add(id);
    this.#run();
  }

  #run(): void {
    this.#running ??= this.#work().finally(() => {
      this.#running = undefined;
    });
  }

  async #work(): Promise<void> {
    while (this.#all || this.#ca || this.#waiting.size > 0) {
      try {
        const appliance = await findAppliance(this.#engine, this.#options);
        await this.#compareCa(appliance);
        if (this.#all) await this.#addAll(appliance);
        await this.#lookAtWaiting(appliance);
      } catch (error) {
        // Without an appliance there is nothing to do; when it is there and healthy, all are looked at.
        this.#all = false;
        this.#ca = false;
        this.#waiting.clear();
        this.#report.problem(undefined, messageOf(error));
      }
    }
  }

  async #compareCa(appliance: Appliance): Promise<void> {
    if (!this.#ca && !this.#all) return;
    this.#ca = false;
    const bundle = await caOf(this.#engine, appliance);
    if (bundle !== this.#bundle) this.#all = true;
    this.#bundle = bundle;
  }

  async #addAll(appliance: Appliance): Promise<void> {
    this.#all = false;
    await removeOrphans(this.#engine, appliance);
    for (const { network } of [appliance, ...(await isolatedPlaces(this.#engine, appliance))]) {
      const listed = await listContainers(this.#engine, { network: [network.name] });
      for (const { id, running } of listed) if (running) this.#waiting.add(id);
    }
  }

  async #lookAtWaiting(appliance: Appliance): Promise<void> {
    for (const id of this.#waiting) {
      this.#waiting.delete(id);
      const name = await this.#nameOf(id);
      try {
        const kept = await keep(this.#engine, appliance, id);
        this.#inVain.delete(id);
        if (kept !== 'none') this.#report.kept(name, kept);
      } catch (error) {
        if (this.#inVain.delete(id)) this.#report.problem(name, messageOf(error));
        else
          this.#inVain.set(
            id,
            setTimeout(() => this.lookAt(id), RETRY_MS),
          );
      }
    }
  }

  async #nameOf(id: string): Promise<string> {
    const [listed] = await listContainers(this.#engine, { id: [id] });
    return listed?.name ?? id.slice(0, SHORT_ID_CHARS);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}
