// Takes the samples: round by round, target by target, so that what disturbs the machine disturbs all alike. Keeps the targets up
// between measurements and ends them at the close.
import type { Generator } from './jobs.ts';
import { moveTo } from './machine.ts';
import { type Extent, type Measurement, type Sample, warm } from './measurement.ts';
import type { Row } from './report.ts';
import type { RunningTarget, Site, Target } from './target.ts';

const LIMIT_MS = 10 * 60_000; // measurements that would begin later than this are left out, and the report says so

/** The targets that are up, and what has been measured so far. A target that fails is left out of that measurement only. */
export class Run {
  readonly rows: Row[] = [];
  readonly failures: string[] = [];
  private readonly site: Site;
  private readonly generator: Generator;
  private readonly extent: Extent;
  private readonly startedMs = performance.now();
  private readonly shared = new Map<Target, RunningTarget>();

  constructor(site: Site, generator: Generator, extent: Extent) {
    this.site = site;
    this.generator = generator;
    this.extent = extent;
  }

  async measure(measurement: Measurement): Promise<void> {
    if (performance.now() - this.startedMs > LIMIT_MS) {
      this.failures.push(`${measurement.id}: left out, the run took too long`);
      return;
    }
    if (measurement.serial === true) this.gather(this.site.cores.proxy, this.site.cores.proxy);
    const samples = await this.takeRounds(measurement);
    if (measurement.serial === true) this.gather(this.site.cores.generator, this.site.cores.origin);
    process.stderr.write(`${measurement.id} done after ${Math.round((performance.now() - this.startedMs) / 1000)} s\n`);
    this.rows.push({ measurement, samples });
  }

  private gather(generatorCore: number, originCore: number): void {
    moveTo(this.site.cores, generatorCore, this.generator.pid);
    moveTo(this.site.cores, originCore, this.site.origin.pid);
  }

  private async takeRounds(measurement: Measurement): Promise<Map<Target, Sample[]>> {
    const samples = new Map<Target, Sample[]>(measurement.targets.map((target) => [target, []]));
    const rounds = measurement.once === true ? 1 : this.extent.rounds;
    for (let round = 0; round < rounds; round++) {
      for (const [target, taken] of samples) {
        await this.sample(measurement, target, round).then(
          (sample) => taken.push(sample),
          (error: Error) => {
            samples.delete(target);
            this.failures.push(`${measurement.id}, ${target.name}: ${error.message}`);
          },
        );
      }
    }
    return samples;
  }

  private async sample(measurement: Measurement, target: Target, round: number): Promise<Sample> {
    if (measurement.fresh !== true) {
      return measurement.take(this.generator, await this.up(target), this.extent, round);
    }
    const fresh = await target.start(this.site);
    try {
      return await measurement.take(this.generator, fresh, this.extent, round);
    } finally {
      await fresh.stop();
    }
  }

  private async up(target: Target): Promise<RunningTarget> {
    const known = this.shared.get(target);
    if (known !== undefined) return known;
    const started = await target.start(this.site);
    this.shared.set(target, started);
    await warm(this.generator, started, this.extent.seconds);
    return started;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.shared.values()].map((target) => target.stop()));
  }
}
