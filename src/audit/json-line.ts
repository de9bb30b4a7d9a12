/**
 * A record as its line: what JSON.stringify would say, made of parts that are known to need no escaping or were escaped
 * before. On every request this is a microsecond less. Holds no more than a bounded number of escaped texts.
 */
import type { AuditRecord } from '../domain/record.ts';

/** What most records share: agents, rules, hosts, addresses. */
const MAX_KNOWN = 1_024;
/** Longer ones are paths, which seldom come twice. */
const MAX_KNOWN_CHARS = 64;
const known = new Map<string, string>();

/** Ends with a line feed. */
export function jsonLine(record: AuditRecord): string {
  return `{${origin(record)},${decision(record)},${request(record)},${outcome(record)}}\n`;
}

function origin({ subsystem, event, flow, agent, agent_ip }: AuditRecord): string {
  return `"subsystem":"${subsystem}","event":"${event}","flow":"${flow}","agent":${text(agent)},"agent_ip":${text(agent_ip)}`;
}

function decision({ verdict, rule, mode, would_block, taken, reason, detail }: AuditRecord): string {
  return (
    `"verdict":"${verdict}","rule":${text(rule)},"mode":${word(mode)},"would_block":${text(would_block)},` +
    `"taken":"${taken}","reason":${word(reason)},"detail":${text(detail)}`
  );
}

function request({ host, port, scheme, method, path, http_version }: AuditRecord): string {
  return (
    `"host":${text(host)},"port":${port},"scheme":${word(scheme)},"method":${text(method)},` +
    `"path":${path === null ? 'null' : JSON.stringify(path)},"http_version":${word(http_version)}`
  );
}

function outcome(r: AuditRecord): string {
  return (
    `"status":${r.status},"body_size":${r.body_size},"bytes_up":${r.bytes_up},"bytes_down":${r.bytes_down},` +
    `"upstream":${text(r.upstream)},"started_at":"${r.started_at}","duration_ms":${r.duration_ms},"generation":${r.generation}`
  );
}

/** One of a closed set of words of ours. */
function word(value: string | null): string {
  return value === null ? 'null' : `"${value}"`;
}

function text(value: string | null): string {
  if (value === null) return 'null';
  let escaped = known.get(value);
  if (escaped === undefined) {
    escaped = JSON.stringify(value);
    if (value.length <= MAX_KNOWN_CHARS) {
      if (known.size >= MAX_KNOWN) known.clear();
      known.set(value, escaped);
    }
  }
  return escaped;
}
