/** `outcall status`: what runs, since when, with which rules, and what is wrong with it. Exit 1 when nothing runs. */
import type { Command } from 'commander';
import { ADMIN_PATHS, type StatusAnswer, type WorkerStatus } from '../domain/admin-api.ts';
import { formatProblem } from '../policy/problem.ts';
import { clientOf, withAdminSocket } from './admin-socket-option.ts';
import type { CliIo } from './io.ts';

export function addStatusCommand(program: Command, io: CliIo): void {
  withAdminSocket(program.command('status'))
    .description('what runs, since when, with which rules')
    .option('--json', 'one JSON object', false)
    .action(async (options: { adminSocket: string; json: boolean }) => {
      const status = await clientOf(options).get<StatusAnswer>(ADMIN_PATHS.status);
      io.out(options.json ? `${JSON.stringify(status)}\n` : statusText(status));
    });
}

function statusText(status: StatusAnswer): string {
  const rows = [
    ['state', status.state],
    ['version', `${status.version} (pid ${status.pid})`],
    ['listens on', status.listen],
    ...(status.admin_listen === null ? [] : [['admin API', `${status.admin_listen}, with a token`] as const]),
    ...(status.metrics_listen === null ? [] : [['metrics', `http://${status.metrics_listen}/metrics`] as const]),
    ['up', durationText(status.uptime_secs)],
    [
      'rules',
      `${status.rules} in generation ${status.generation} from ${status.rules_path}, since ${status.loaded_at}`,
    ],
    ['enforcement', enforcementText(status)],
    ['interception', status.ca_loaded ? 'on (a CA is loaded)' : 'off (no CA)'],
    ['network lock', status.lock],
    ['open flows', String(status.open_flows)],
    ['workers', status.workers.map(workerText).join(', ')],
  ] as const;
  const table = rows.map(([name, value]) => `${name.padEnd('interception'.length)}  ${value}\n`).join('');
  return table + auditText(status) + problemsText(status);
}

function enforcementText({ enforcement, rules_in_audit, rules }: StatusAnswer): string {
  if (enforcement === 'audit') return 'AUDIT: nothing is blocked by default; what would be is recorded';
  return rules_in_audit === 0 ? 'on' : `on, but ${rules_in_audit} of ${rules} rules are in AUDIT and do not block`;
}

function workerText({ id, pid, listening, restarts }: WorkerStatus): string {
  const state = listening ? `pid ${pid}` : 'being replaced';
  return `${id}: ${state}${restarts === 0 ? '' : `, replaced ${restarts} times`}`;
}

function auditText({ audit_blocked }: StatusAnswer): string {
  return audit_blocked
    ? '\nAudit records cannot be written: new flows are refused. See to what reads the standard output of outcalld.\n'
    : '';
}

function problemsText({ reload_problems }: StatusAnswer): string {
  if (reload_problems.length === 0) return '';
  return `\nThe rules on disk are not in force; they have problems:\n${reload_problems.map((problem) => `${formatProblem(problem)}\n`).join('')}`;
}

function durationText(seconds: number): string {
  const days = Math.floor(seconds / 86_400);
  const hours = Math.floor((seconds % 86_400) / 3_600);
  const minutes = Math.floor((seconds % 3_600) / 60);
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
