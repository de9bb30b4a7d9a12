/**
 * GET /v1/records: the last audit records as NDJSON, and with follow=1 all that come after them.
 * A reader who does not keep up is let go, so that no reader can make the daemon hold records without bound.
 */
import type http from 'node:http';
import type { AdminBackend } from './backend.ts';

const DEFAULT_TAIL = 10;
const MAX_TAIL = 1_000;
/** Some 2,000 records that a reader has not taken. */
const MAX_BEHIND_BYTES = 1024 * 1024;

/** Query: `tail` (0 to 1,000; 10) records of the past, `follow=1` to stay. */
export function streamRecords(
  response: http.ServerResponse,
  records: AdminBackend['records'],
  query: URLSearchParams,
): void {
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  response.write(records.recent(tailOf(query)));
  if (query.get('follow') !== '1') {
    response.end();
    return;
  }
  response.flushHeaders();
  const unfollow = records.follow((lines) => {
    if (response.writableLength > MAX_BEHIND_BYTES) response.destroy();
    else response.write(lines);
  });
  response.once('close', unfollow);
}

function tailOf(query: URLSearchParams): number {
  const text = query.get('tail') ?? '';
  return /^[0-9]{1,4}$/.test(text) ? Math.min(Number(text), MAX_TAIL) : DEFAULT_TAIL;
}
