/**
 * What an agent may use, for who reads text: one line for each entry, with columns.
 */
import type { Access, HostAccess, Methods } from '../policy/access.ts';

const HEADING = 'This agent may use what stands here. Everything else is refused.\n';
const NOTHING = 'This agent may use nothing: everything is refused.\n';
const INCOMPLETE = 'Some hosts or ports are picked by a pattern, and may differ from what stands here.\n';

export function accessText({ hosts, complete }: Access): string {
  const rows = hosts.map(
    (entry) => [entry.host, entry.schemes.join(', '), portsText(entry), methodsText(entry)] as const,
  );
  const widths = [0, 1, 2].map((i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const lines = rows.map((row) => `${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}\n`);
  const rest = complete ? '' : INCOMPLETE;
  return rows.length === 0 ? NOTHING + rest : `${HEADING}\n${lines.join('')}${rest === '' ? '' : `\n${rest}`}`;
}

function portsText({ ports }: HostAccess): string {
  if (ports === 'any') return 'any port';
  return `${ports.length === 1 ? 'port' : 'ports'} ${ports.join(', ')}`;
}

function methodsText({ methods, partly, schemes, intercepted }: HostAccess): string {
  if (schemes.includes('tcp')) return 'any protocol';
  const seen = intercepted ? '; decrypted by the proxy' : '';
  return [named(methods, ''), named(partly, 'some requests with ')].filter((text) => text !== '').join('; ') + seen;
}

function named(methods: Methods, before: string): string {
  if (methods === 'any') return `${before}any method`;
  return methods.length === 0 ? '' : before + methods.join(', ');
}
