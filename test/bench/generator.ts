// The load generator, run as a process of its own: HTTP/1.1 over TLS over CONNECT on raw sockets, with no more parsing than finds
// the end of an answer. Any answer but 200, any short body and any certificate of another CA ends the job with an error.
import { Client } from './client.ts';
import type { Exchange, Job, Latency, Outcome, Reply, Route } from './jobs.ts';

const US_PER_MS = 1000;
const OPEN_AT_A_TIME = 8;

type Lane = Awaited<ReturnType<Client['open']>>;

const held: Lane[] = [];

process.on('message', (job: Job) => {
  run(job).then(
    (outcome) => reply({ outcome }),
    (error: Error) => reply({ error: `${job.kind}: ${error.message}` }),
  );
});

function reply(message: Reply): void {
  process.send?.(message);
}

function run(job: Job): Promise<Outcome> {
  switch (job.kind) {
    case 'keep-alive':
      return keepAlive(job.route, job.exchange, job.connections, job.seconds);
    case 'new-connections':
      return newConnections(job.route, job.exchange, job.connections, job.seconds);
    case 'first-contact':
      return firstContact(job.route, job.exchange, job.hosts);
    case 'hold':
      return hold(job.route, job.exchange, job.connections);
    case 'release':
      for (const lane of held.splice(0)) lane.close();
      return Promise.resolve(new Tally().outcome());
  }
}

async function keepAlive(route: Route, exchange: Exchange, connections: number, seconds: number): Promise<Outcome> {
  const client = new Client(route);
  const lanes = await openMany(client, exchange, connections);
  await Promise.all(lanes.map((lane) => lane.exchange())); // the first one pays for the proxy's own connection
  const tally = new Tally();
  const deadline = tally.startedMs + seconds * 1000;
  await Promise.all(lanes.map((lane) => lane.repeat((ms, bytes) => tally.add(ms, bytes) < deadline)));
  for (const lane of lanes) lane.close();
  return tally.outcome();
}

async function openMany(client: Client, exchange: Exchange, count: number, tally = new Tally()): Promise<Lane[]> {
  const lanes: Lane[] = [];
  let begun = 0;
  const opener = async (): Promise<void> => {
    while (begun++ < count) {
      const start = performance.now();
      lanes.push(await client.open(exchange));
      tally.addHandshake(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, OPEN_AT_A_TIME) }, opener));
  return lanes;
}

async function newConnections(route: Route, exchange: Exchange, atOnce: number, seconds: number): Promise<Outcome> {
  const client = new Client(route);
  const tally = new Tally();
  const deadline = tally.startedMs + seconds * 1000;
  const loop = async (): Promise<void> => {
    while (performance.now() < deadline) await oneConnection(client, exchange, tally);
  };
  await Promise.all(Array.from({ length: atOnce }, loop));
  return tally.outcome();
}

async function oneConnection(client: Client, exchange: Exchange, tally: Tally): Promise<void> {
  const start = performance.now();
  const lane = await client.open(exchange);
  tally.addHandshake(performance.now() - start);
  const bytes = await lane.exchange();
  tally.add(performance.now() - start, bytes);
  lane.close();
}

async function firstContact(route: Route, exchange: Exchange, hosts: readonly string[]): Promise<Outcome> {
  const client = new Client(route);
  const tally = new Tally();
  for (const host of hosts) await oneConnection(client, { ...exchange, host }, tally);
  return tally.outcome();
}

async function hold(route: Route, exchange: Exchange, connections: number): Promise<Outcome> {
  const tally = new Tally();
  const lanes = await openMany(new Client(route), exchange, connections, tally);
  held.push(...lanes);
  for (const lane of lanes) tally.add(0, await lane.exchange());
  return tally.outcome();
}

/** Every sample of a job is kept: percentiles are exact, not of buckets. */
class Tally {
  readonly startedMs = performance.now();
  private endedMs = this.startedMs;
  private bodyBytes = 0;
  private readonly samples: number[] = [];
  private readonly handshakes: number[] = [];

  /** Returns the time it took as now, so that a loop needs no clock of its own. */
  add(ms: number, bodyBytes: number): number {
    this.samples.push(ms);
    this.bodyBytes += bodyBytes;
    this.endedMs = performance.now();
    return this.endedMs;
  }

  addHandshake(ms: number): void {
    this.handshakes.push(ms);
  }

  outcome(): Outcome {
    const seconds = (this.endedMs - this.startedMs) / 1000;
    const { bodyBytes } = this;
    const handshake = percentiles(this.handshakes);
    return { requests: this.samples.length, seconds, bodyBytes, latency: percentiles(this.samples), handshake };
  }
}

function percentiles(samples: readonly number[]): Latency {
  const sorted = Float64Array.from(samples).sort();
  const at = (share: number): number => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0) * US_PER_MS;
  return { p50Us: at(0.5), p99Us: at(0.99), p999Us: at(0.999) };
}
