/**
 * The audit records over the admin API: those at hand as one JSON value, as lines, or as server-sent events with all that
 * come after them. A reader who does not keep up is let go, so that no reader can make the daemon hold records without bound.
 */
import type http from 'node:http';
import { MAX_RECENT_RECORDS } from '../domain/admin-api.ts';
import { eachLine, FILTER_PARAMETERS, FlowFilter, parsed } from './flow-filter.ts';
import { type Asked, FLAG, type Parameter, sendJson } from './route.ts';

const DEFAULT_TAIL = 10;
/** Some 2,000 records that a reader has not taken. */
const MAX_BEHIND_BYTES = 1024 * 1024;
/** So that whatever stands between sees that the connection lives; browsers and proxies give up at 30 s and more. */
const KEEP_ALIVE_MS = 15_000;

const TAIL: Parameter = {
  name: 'tail',
  description: `start with this many of the past that were asked for, or fewer (${DEFAULT_TAIL})`,
  schema: { type: 'integer', minimum: 0, maximum: MAX_RECENT_RECORDS },
};
const FOLLOW: Parameter = {
  name: 'follow',
  description: '1 to stay and be sent what comes',
  schema: FLAG,
};

export const FLOWS_PARAMETERS: readonly Parameter[] = [TAIL, ...FILTER_PARAMETERS];
export const RECORDS_PARAMETERS: readonly Parameter[] = [TAIL, FOLLOW, ...FILTER_PARAMETERS];

/** {"flows": [...]}, oldest first. */
export function sendFlows(asked: Asked): void {
  const lines = [...eachLine(past(asked, new FlowFilter(asked.query)))];
  sendJson(asked.response, 200, { flows: lines.map(parsed).filter((record) => record !== undefined) });
}

/** NDJSON; with follow=1 until the reader leaves. */
export function sendRecords(asked: Asked): void {
  const { query, response } = asked;
  const filter = new FlowFilter(query);
  const first = past(asked, filter);
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  response.write(first);
  if (query.get('follow') === '1') follow(asked, (lines) => filter.lines(lines));
  else response.end();
}

/** Server-sent events: each record is the data of one event named `flow`. */
export function sendEvents(asked: Asked): void {
  const { response } = asked;
  const filter = new FlowFilter(asked.query);
  const first = events(past(asked, filter));
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.write(first);
  const beat = setInterval(() => response.write(': still here\n\n'), KEEP_ALIVE_MS);
  response.once('close', () => clearInterval(beat));
  follow(asked, (lines) => events(filter.lines(lines)));
}

function past({ backend, query }: Asked, filter: FlowFilter): Buffer {
  const count = Number(query.get('tail') ?? DEFAULT_TAIL);
  const lines = [...eachLine(filter.lines(backend.records.recent(MAX_RECENT_RECORDS)))];
  return Buffer.concat(count === 0 ? [] : lines.slice(-count));
}

function follow({ backend, response }: Asked, shape: (lines: Buffer) => Buffer): void {
  response.flushHeaders();
  const unfollow = backend.records.follow((lines) => send(response, shape(lines)));
  response.once('close', unfollow);
}

function send(response: http.ServerResponse, bytes: Buffer): void {
  if (response.writableLength > MAX_BEHIND_BYTES) response.destroy();
  else if (bytes.length > 0) response.write(bytes);
}

/** A record is one line of JSON, so it cannot end its event before its time (HTML standard, section 9.2.6). */
function events(lines: Buffer): Buffer {
  return Buffer.concat([...eachLine(lines)].flatMap((line) => [EVENT, line, LINE_FEED]));
}

const EVENT = Buffer.from('event: flow\ndata: ');
const LINE_FEED = Buffer.from('\n');
