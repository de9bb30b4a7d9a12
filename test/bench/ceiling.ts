// What the load generator can do by itself: against an origin on the core that the proxies use otherwise, so that neither takes the
// other's time. A target that comes near these figures is limited by the generator, not by itself.
import type { Certificates } from './certificates.ts';
import type { Exchange, Generator, Job, Outcome } from './jobs.ts';
import type { Cores } from './machine.ts';
import { ORIGIN_HOST } from './measurement.ts';
import { startOrigin } from './origin.ts';

export interface CeilingLine {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
}

const CONNECTIONS = [1, 8, 64];
const H2_STREAMS = [
  [1, 100],
  [8, 8],
] as const;
const MEGA = 1_000_000;
const get = (path: string): Exchange => ({ host: ORIGIN_HOST, method: 'GET', path, requestBytes: 0 });

export async function generatorCeiling(
  folder: string,
  certificates: Certificates,
  cores: Cores,
  generator: Generator,
  seconds: number,
): Promise<CeilingLine[]> {
  const origin = await startOrigin(folder, certificates, cores, cores.proxy);
  const plain = { port: origin.plainPort, connect: false, originPort: origin.plainPort, ca: undefined };
  const tls = { ...plain, port: origin.tlsPort, ca: certificates.originCa.pem };
  const lines: CeilingLine[] = [];
  const add = async (what: string, unit: string, job: Job, figureOf: (outcome: Outcome) => number): Promise<void> => {
    lines.push({ what, unit, value: figureOf(await generator.run(job)) });
  };
  const perSecond = ({ requests, seconds: took }: Outcome): number => requests / took;
  const megabytes = ({ bodyBytes, seconds: took }: Outcome): number => bodyBytes / took / MEGA;
  const loop = { exchange: get('/v1/1k'), seconds };
  for (const connections of CONNECTIONS) {
    const what = `1 KiB, ${connections} connection${connections === 1 ? '' : 's'}`;
    await add(`${what}, no TLS`, 'requests/s', { ...loop, kind: 'keep-alive', route: plain, connections }, perSecond);
    await add(`${what}, TLS`, 'requests/s', { ...loop, kind: 'keep-alive', route: tls, connections }, perSecond);
  }
  for (const [connections, streams] of H2_STREAMS) {
    const exchange = { ...loop.exchange, streams };
    const route = { ...tls, port: origin.h2Port };
    const what = `1 KiB over h2, ${connections} x ${streams} streams`;
    await add(what, 'requests/s', { ...loop, kind: 'keep-alive', route, exchange, connections }, perSecond);
  }
  await add(
    'new TLS connections, 8 at a time',
    'connections/s',
    { ...loop, kind: 'new-connections', route: tls, connections: 8 },
    perSecond,
  );
  const transfer = { kind: 'keep-alive', connections: 1, seconds } as const;
  await add('100 MiB, TLS', 'MB/s', { ...transfer, route: tls, exchange: get('/v1/100m') }, megabytes);
  await add('16 MiB at a time, no TLS', 'MB/s', { ...transfer, route: plain, exchange: get('/v1/tunnel') }, megabytes);
  await origin.stop();
  return lines;
}
