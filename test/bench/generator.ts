// The load generator, run as a process of its own: HTTP/1.1 over TLS over CONNECT on raw sockets, with no more parsing than finds
// the end of an answer. Any answer but 200, any short body and any certificate of another CA ends the job with an error.
import { Client } from './client.ts';
import { askNames } from './dns-load.ts';
import type { Exchange, Job, Outcome, Reply, Route } from './jobs.ts';
import { openLoop } from './open-loop.ts';
import { Tally } from './tally.ts';

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
    case 'open-loop':
      return atRate(job.route, job.exchange, job.connections, job.perSecond, job.seconds);
    case 'flood':
      return flood(job.route, job.exchange, job.connections, job.newAtOnce, job.seconds);
    case 'query':
      return askNames(job);
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

async function atRate(
  route: Route,
  exchange: Exchange,
  connections: number,
  perSecond: number,
  seconds: number,
): Promise<Outcome> {
  const lanes = await openMany(new Client(route), exchange, connections);
  await Promise.all(lanes.map((lane) => lane.exchange()));
  const tally = new Tally();
  await openLoop(lanes, perSecond, seconds, tally);
  for (const lane of lanes) lane.close();
  return tally.outcome();
}

/** Open connections as fast as they answer, and new ones beside them. */
async function flood(
  route: Route,
  exchange: Exchange,
  connections: number,
  newAtOnce: number,
  seconds: number,
): Promise<Outcome> {
  const [outcome] = await Promise.all([
    keepAlive(route, exchange, connections, seconds),
    newConnections(route, exchange, newAtOnce, seconds),
  ]);
  return outcome;
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
