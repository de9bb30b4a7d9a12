/**
 * From an audit record back to the question that it answered, as far as records hold it: no header fields, no body, no
 * query values (unless the operator logs them), and of an agent only its name and address.
 */
import { canonicalHost } from '../domain/hostname.ts';
import { type AuditRecord, CUT } from '../domain/record.ts';
import type { Asked } from './explain.ts';

/** undefined where the record does not say what was asked: no readable host, or a path that was cut. */
export function askedOf(record: AuditRecord): Asked | undefined {
  const host = canonicalHost(record.host ?? '');
  if (host === undefined) return undefined;
  const agent = agentOf(record);
  if (record.event === 'query') return record.method === null ? undefined : { agent, host, recordType: record.method };
  if (record.port === null) return undefined;
  const connection = { agent, host, port: record.port };
  if (record.event === 'flow') return connection;
  const { scheme, method, path } = record;
  if (scheme === null || method === null || path === null || path.endsWith(CUT)) return undefined;
  return { ...connection, request: { scheme, method, target: path } };
}

/** What records are about, without what differs each time: equal where the question to the rules is. */
export function questionKey({ event, agent, agent_ip, host, port, scheme, method, path }: AuditRecord): string {
  return JSON.stringify([event, agent, agent_ip, host, port, scheme, method, path]);
}

/** An agent that nobody has told the daemon of has no name, and no image or labels either. */
function agentOf({ agent, agent_ip }: AuditRecord): Asked['agent'] {
  return agent === '' ? { name: '', image: '', labels: {}, ip: agent_ip } : { name: agent, ip: agent_ip };
}
