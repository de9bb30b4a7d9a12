/** `outcall logs`: the audit records that the daemon has at hand, readable or as they are, and those to come. */
import { type Command, Option } from 'commander';
import { ADMIN_PATHS, MAX_RECENT_RECORDS } from '../domain/admin-api.ts';
import type { AuditRecord } from '../domain/record.ts';
import { clientOf, withAdminSocket } from './admin-socket-option.ts';
import { CliError, type CliIo, EXIT_USAGE } from './io.ts';
import { recordLine } from './record-line.ts';

interface LogsOptions {
  readonly adminSocket: string;
  readonly follow: boolean;
  readonly json: boolean;
  readonly tail: string;
  readonly agent?: string;
  readonly host?: string;
  readonly verdict?: string;
  readonly rule?: string;
}

export function addLogsCommand(program: Command, io: CliIo): void {
  withAdminSocket(program.command('logs'))
    .description('what was asked, and what the rules said')
    .option('-f, --follow', 'stay, and print what comes', false)
    .option('--json', 'the records as they are, one JSON object a line', false)
    .option('--tail <count>', `start with this many of the last ${MAX_RECENT_RECORDS}`, '100')
    .option('--agent <name>', 'of this agent: its name or its address')
    .option('--host <host>', 'for this host, or *.example.com for all below it')
    .addOption(new Option('--verdict <verdict>', 'that ended so').choices(['allow', 'block', 'failed', 'would_block']))
    .option('--rule <id>', 'that this rule decided; default where none did')
    .action((options: LogsOptions) => printLogs(io, options));
}

async function printLogs(io: CliIo, options: LogsOptions): Promise<void> {
  if (!/^[0-9]{1,4}$/.test(options.tail) || Number(options.tail) > MAX_RECENT_RECORDS) {
    throw new CliError(
      EXIT_USAGE,
      `--tail: "${options.tail}" is not a number from 0 to ${MAX_RECENT_RECORDS}; write --tail 100`,
    );
  }
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once('SIGINT', interrupt);
  try {
    const print = options.json ? (line: string) => io.out(`${line}\n`) : readable(io);
    for await (const line of clientOf(options).stream(pathOf(options), interrupted.signal)) print(line);
  } finally {
    process.off('SIGINT', interrupt);
  }
}

function pathOf(options: LogsOptions): string {
  const query = new URLSearchParams({ tail: options.tail });
  if (options.follow) query.set('follow', '1');
  for (const name of ['agent', 'host', 'verdict', 'rule'] as const) {
    const value = options[name];
    if (value !== undefined) query.set(name, value);
  }
  return `${ADMIN_PATHS.records}?${query.toString()}`;
}

function readable(io: CliIo): (line: string) => void {
  const colour = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  return (line) => io.out(`${recordLine(JSON.parse(line) as AuditRecord, colour)}\n`);
}
