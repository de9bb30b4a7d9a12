// The generator's name client: plain A queries over UDP (RFC 1035), a bounded number on their way at a time. An answer without an
// address, and one that does not come, fail the job.
import dgram from 'node:dgram';
import { once } from 'node:events';
import type { Outcome, Queries } from './jobs.ts';
import { Tally } from './tally.ts';

const ANSWER_LIMIT_MS = 1_000;
const HEADER_BYTES = 12;
const RECURSION_DESIRED = 0x0100;

export async function askNames({ port, sources, names, seconds }: Queries): Promise<Outcome> {
  const queries = names.map(queryBytes);
  const lanes = await Promise.all(sources.map((source) => openLane(port, source)));
  const tally = new Tally();
  const deadline = tally.startedMs + seconds * 1000;
  let next = 0;
  const query = (): Buffer | undefined =>
    performance.now() < deadline ? Buffer.from(queries[next++ % queries.length] ?? '') : undefined;
  const lost = setTimeout(() => closeAll(lanes), seconds * 1000 + ANSWER_LIMIT_MS);
  try {
    await Promise.all(lanes.map((lane) => askOnAndOn(lane, query, tally)));
  } finally {
    clearTimeout(lost);
    closeAll(lanes);
  }
  return tally.outcome();
}

async function openLane(port: number, source: string): Promise<dgram.Socket> {
  const lane = dgram.createSocket('udp4');
  lane.bind(0, source);
  await once(lane, 'listening');
  lane.connect(port, '127.0.0.1');
  await once(lane, 'connect');
  return lane;
}

function askOnAndOn(lane: dgram.Socket, query: () => Buffer | undefined, tally: Tally): Promise<void> {
  return new Promise((resolve, reject) => {
    let number = 0;
    let sentMs = 0;
    const ask = (): void => {
      const bytes = query();
      if (bytes === undefined) return resolve();
      number = (number + 1) & 0xffff;
      bytes.writeUInt16BE(number, 0);
      sentMs = performance.now();
      lane.send(bytes);
    };
    lane.on('message', (answer) => {
      const [id, code, addresses] = [answer.readUInt16BE(0), answer.readUInt16BE(2) & 0xf, answer.readUInt16BE(6)];
      if (id !== number || code !== 0 || addresses === 0) return reject(new Error(`answer with code ${code}`));
      tally.add(performance.now() - sentMs, 0);
      ask();
    });
    lane.on('error', reject);
    lane.on('close', () => reject(new Error('a query had no answer')));
    ask();
  });
}

function closeAll(lanes: dgram.Socket[]): void {
  for (const lane of lanes.splice(0)) lane.close();
}

function queryBytes(name: string): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt16BE(RECURSION_DESIRED, 2);
  head.writeUInt16BE(1, 4); // one question
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, 1, 0, 1])]); // the root, A, IN
}
