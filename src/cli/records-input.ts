/**
 * Audit records as input of a command: a file of JSON lines, standard input, or what the daemon has at hand. Lines that
 * are no records (a container's log has others beside them) are passed over and counted.
 */
import fs from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { ADMIN_PATHS, MAX_RECENT_RECORDS } from '../domain/admin-api.ts';
import type { AuditRecord } from '../domain/record.ts';
import { clientOf } from './admin-socket-option.ts';
import { CliError, type CliIo, EXIT_FAILURE } from './io.ts';

const EVENTS: ReadonlySet<unknown> = new Set(['flow', 'request', 'query']);
const VERDICTS: ReadonlySet<unknown> = new Set(['allow', 'block', 'failed']);

/** `source`: a file, `-` for standard input, undefined for the daemon. Rejects with CliError where there are none. */
export async function readRecords(
  io: CliIo,
  source: string | undefined,
  options: { readonly adminSocket: string },
): Promise<readonly AuditRecord[]> {
  const lines = (await linesOf(source, options)).filter((line) => line.trim() !== '');
  const records = lines.map(recordOf).filter((record) => record !== undefined);
  const others = lines.length - records.length;
  const where = source === undefined ? 'outcalld' : source === '-' ? 'standard input' : source;
  if (records.length === 0) {
    const hint = source === undefined ? 'nothing has been asked of it yet' : 'give what `outcall logs --json` prints';
    throw new CliError(EXIT_FAILURE, `no audit records from ${where}; ${hint}`);
  }
  if (others > 0) io.err(`${others} ${others === 1 ? 'line' : 'lines'} from ${where} passed over: not audit records\n`);
  return records;
}

async function linesOf(source: string | undefined, options: { readonly adminSocket: string }): Promise<string[]> {
  if (source === '-') return (await text(process.stdin)).split('\n');
  if (source !== undefined) return (await readText(source)).split('\n');
  return (await clientOf(options).raw('GET', `${ADMIN_PATHS.records}?tail=${MAX_RECENT_RECORDS}`)).split('\n');
}

async function readText(file: string): Promise<string> {
  try {
    return await fs.readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new CliError(EXIT_FAILURE, `${file} cannot be read: ${code}`, { cause: error });
  }
}

function recordOf(line: string): AuditRecord | undefined {
  try {
    const value = JSON.parse(line) as Partial<AuditRecord> | null;
    const known = EVENTS.has(value?.event) && VERDICTS.has(value?.verdict) && typeof value?.flow === 'string';
    // Written before there was an audit mode.
    return known ? ({ would_block: null, ...value } as AuditRecord) : undefined;
  } catch {
    return undefined;
  }
}
