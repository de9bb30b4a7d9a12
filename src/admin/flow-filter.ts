/**
 * Which audit records a reader asked for: by agent, host, verdict and rule. Reads a line only where something is asked for,
 * so that following everything costs no parsing.
 */
import { canonicalHost } from '../domain/hostname.ts';
import type { AuditRecord } from '../domain/record.ts';
import { AdminProblem } from './problem.ts';
import type { Parameter } from './route.ts';

/** A name of DNS has at most 253 characters; a rule's id and a container's name have less than this. */
const MAX_VALUE_CHARS = 1_024;
const VALUE = { type: 'string', maxLength: MAX_VALUE_CHARS } as const;
const LINE_FEED = 0x0a;

export const FILTER_PARAMETERS: readonly Parameter[] = [
  { name: 'agent', description: 'name or address of the agent', schema: VALUE },
  { name: 'host', description: 'the host, or *.example.com for all names below one', schema: VALUE },
  {
    name: 'verdict',
    description: 'how it ended; would_block for what audit mode let through',
    schema: { type: 'string', enum: ['allow', 'block', 'failed', 'would_block'] },
  },
  { name: 'rule', description: 'id of the rule that decided; default where none did', schema: VALUE },
];

type Matches = (record: Partial<AuditRecord>) => boolean;

export class FlowFilter {
  readonly #tests: readonly Matches[];

  /** Throws AdminProblem 400 where the host is none. */
  constructor(query: URLSearchParams) {
    const agent = query.get('agent');
    const host = query.get('host');
    const verdict = query.get('verdict');
    const rule = query.get('rule');
    this.#tests = [
      agent === null
        ? undefined
        : (record: Partial<AuditRecord>) => record.agent === agent || record.agent_ip === agent,
      host === null ? undefined : hostTest(host),
      verdict === null ? undefined : verdictTest(verdict),
      rule === null ? undefined : (record: Partial<AuditRecord>) => record.rule === rule,
    ].filter((test) => test !== undefined);
  }

  /** Those of these whole lines that were asked for. */
  lines(lines: Buffer): Buffer {
    if (this.#tests.length === 0) return lines;
    return Buffer.concat([...eachLine(lines)].filter((line) => this.#takes(line)));
  }

  #takes(line: Buffer): boolean {
    const record = parsed(line);
    return record !== undefined && this.#tests.every((test) => test(record));
  }
}

/** Each with its line feed. */
export function* eachLine(lines: Buffer): Iterable<Buffer> {
  for (let at = 0; at < lines.length; ) {
    const feed = lines.indexOf(LINE_FEED, at);
    const end = feed === -1 ? lines.length : feed + 1;
    yield lines.subarray(at, end);
    at = end;
  }
}

/** A worker is a process that agents can reach: what it wrote may be anything. */
export function parsed(line: Buffer): Partial<AuditRecord> | undefined {
  try {
    const value: unknown = JSON.parse(line.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function verdictTest(verdict: string): Matches {
  if (verdict === 'would_block') return (record) => typeof record.would_block === 'string';
  return (record) => record.verdict === verdict;
}

function hostTest(text: string): Matches {
  const isSuffix = text.startsWith('*.');
  const host = canonicalHost(isSuffix ? text.slice('*.'.length) : text);
  if (host === undefined) {
    throw new AdminProblem(400, `host: ${JSON.stringify(text)} is no host; write api.example.com or *.example.com`);
  }
  return isSuffix ? (record) => record.host?.endsWith(`.${host}`) === true : (record) => record.host === host;
}
