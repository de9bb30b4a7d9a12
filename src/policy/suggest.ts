/**
 * The least rules that allow what was recorded, as a rule file with the evidence beside each line: by host, port and method,
 * paths as templates, queries by the names of their parameters. Never a host that was not seen. What is wider than the
 * evidence, or only the operator can know, is marked CHECK, as is everything that the check of rules would warn of.
 */
import { classifyIp } from '../domain/ip.ts';
import { type AuditRecord, CUT } from '../domain/record.ts';
import { loadRules } from './load.ts';
import { conditionsOf } from './suggest-conditions.ts';
import { type Destination, destinationsOf } from './suggest-evidence.ts';

export interface SuggestOptions {
  /** Only what this agent did, by name or address; the rules are then for it alone. */
  readonly agent?: string;
  /** Only what the rules of an audit run would have blocked. */
  readonly missing?: boolean;
}

export interface Suggestion {
  /** A rule file. */
  readonly text: string;
  readonly rules: number;
  /** Rules with something to check. */
  readonly flagged: number;
}

interface RuleText {
  readonly id: string;
  readonly comments: readonly string[];
  readonly checks: string[];
  readonly lines: readonly string[];
}

const CHECK = 'CHECK: ';

export function suggestRules(records: readonly AuditRecord[], options: SuggestOptions = {}): Suggestion {
  const own = records.filter((record) => isOf(record, options.agent));
  const seen = own.filter((record) => wasAllowed(record) && (options.missing !== true || record.would_block !== null));
  const usable = seen.filter(({ path }) => path?.endsWith(CUT) !== true);
  const agent = options.agent === undefined ? undefined : agentCondition(own[0], options.agent);
  const decrypts = usable.some(({ taken }) => taken === 'intercept');
  const ids = new Set<string>();
  const rules = destinationsOf(usable).flatMap((destination) => rulesFor(destination, { agent, decrypts, ids }));
  addWarnings(rules);
  const left = [
    ...noteOf(own.filter(({ verdict, event }) => verdict === 'block' && event !== 'query').length, 'refused'),
    ...noteOf(own.filter((record) => record.verdict === 'failed' && !wasAllowed(record)).length, 'failed'),
    ...noteOf(seen.length - usable.length, 'with a path too long for a record'),
  ];
  const head = [
    `from ${plural(usable.length, 'record')}`,
    ...(left.length === 0 ? [] : [`left out: ${left.join(', ')}`]),
  ];
  return {
    text: fileText(head.join('; '), rules),
    rules: rules.length,
    flagged: rules.filter(({ checks }) => checks.length > 0).length,
  };
}

function isOf({ agent, agent_ip }: AuditRecord, wanted: string | undefined): boolean {
  return wanted === undefined || agent === wanted || agent_ip === wanted;
}

/** What reached the origin counts, however it ended. A question to the DNS filter says nothing of what comes of it. */
function wasAllowed({ event, verdict, rule, taken, upstream }: AuditRecord): boolean {
  if (event === 'query' || (event === 'flow' && taken !== 'tunnel' && taken !== 'direct')) return false;
  return verdict === 'allow' || (verdict === 'failed' && rule !== null && upstream !== null);
}

function agentCondition(record: AuditRecord | undefined, wanted: string): string {
  return `agent.${record?.agent === wanted ? 'name' : 'ip'} == ${JSON.stringify(wanted)}`;
}

interface Making {
  readonly agent: string | undefined;
  /** There is a CA: something was decrypted. */
  readonly decrypts: boolean;
  readonly ids: Set<string>;
}

function rulesFor(destination: Destination, making: Making): RuleText[] {
  const { requests, connections } = destination;
  if (requests.length === 0) return [connectionRule(destination, making)];
  const rules = requestRules(destination, making);
  if (connections > 0)
    rules[0]?.checks.push(
      `${plural(connections, 'connection')} to it went through unread; now all of them are decrypted`,
    );
  return rules;
}

function connectionRule(destination: Destination, { agent, ids }: Making): RuleText {
  const { host, port, connections, direct } = destination;
  const mode = direct ? 'direct_ip' : 'proxy';
  const conditions = [`http.host == ${JSON.stringify(host)}`, ...(agent === undefined ? [] : [agent])];
  return {
    id: idFor(ids, host, port, direct ? 'direct' : 'tunnel'),
    comments: [`${plural(connections, 'connection')} ${agentsText(destination)}`],
    checks: [
      'the whole host: nothing was decrypted, so methods and paths are not known',
      ...addressChecks(destination),
    ],
    lines: [
      `    condition: ${conditions.join(' && ')}`,
      '    action: allow',
      `    egress: { mode: ${mode}, ports: [${port}] }`,
    ],
  };
}

function requestRules(destination: Destination, { agent, decrypts, ids }: Making): RuleText[] {
  const { host, port, scheme } = destination;
  // A tunnel rule sees plain HTTP too, but not inside a CONNECT.
  const plainOnly = scheme === 'http' && !decrypts;
  return conditionsOf(destination).map(({ methods, text, requests, checks }) => {
    const method =
      methods.length === 1 ? `== "${methods[0]}"` : `in [${methods.map((name) => `"${name}"`).join(', ')}]`;
    const outer = [
      `http.host == ${JSON.stringify(host)}`,
      ...(agent === undefined ? [] : [agent]),
      ...(plainOnly ? ['http.scheme == "http"'] : []),
      `http.method ${method}`,
    ];
    return {
      id: idFor(ids, host, port, methods.map((name) => name.toLowerCase()).join('-')),
      comments: [`${plural(requests, 'request')} ${agentsText(destination)}`],
      checks: [...checks, ...addressChecks(destination)],
      lines: [
        '    condition: |',
        `      ${outer.join(' && ')} &&`,
        ...text.map((line) => `      ${line}`),
        '    action: allow',
        `    egress: { mode: ${plainOnly ? 'proxy' : 'intercept'}, ports: [${port}] }`,
      ],
    };
  });
}

function agentsText({ agents }: Destination): string {
  const names = [...agents];
  return names.length <= 3 ? `by ${names.join(', ')}` : `by ${names.length} agents`;
}

function addressChecks({ upstreams }: Destination): readonly string[] {
  const inside = [...upstreams].filter((address) => classifyIp(address) !== 'public');
  if (inside.length === 0) return [];
  return [`its address ${inside[0]} is not public: keep it in --allow-private, or add allow_private_ips: true`];
}

/** `api-example-com-get`, or with a number where that is taken. */
function idFor(ids: Set<string>, host: string, port: number, what: string): string {
  const usual = port === 443 || port === 80;
  const base = `${host.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '')}${usual ? '' : `-${port}`}-${what}`;
  const name = base.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, MAX_ID_CHARS);
  let id = name;
  for (let n = 2; ids.has(id); n++) id = `${name}-${n}`;
  ids.add(id);
  return id;
}

/** An id has at most 128; a number may follow. */
const MAX_ID_CHARS = 120;

/** What the check of rules would say of them, said here already. */
function addWarnings(rules: readonly RuleText[]): void {
  const loaded = loadRules([{ file: 'suggested.yaml', text: fileText('', rules) }], {
    ...{ caLoaded: true, generation: 0, anchors: new Map() },
  });
  const problems = loaded.ok ? loaded.warnings : loaded.problems;
  for (const { rule, message } of problems) rules.find(({ id }) => id === rule)?.checks.push(message);
}

function fileText(head: string, rules: readonly RuleText[]): string {
  const list = rules.map(ruleText).join('\n');
  return `# Suggested ${head}\nversion: "1"\nrules:${rules.length === 0 ? ' []' : ''}\n${list}`;
}

function ruleText({ id, comments, checks, lines }: RuleText): string {
  const notes = [...comments, ...checks.map((check) => CHECK + check)].map((note) => `  # ${note}\n`);
  return `${notes.join('')}  - id: ${id}\n${lines.map((line) => `${line}\n`).join('')}`;
}

function noteOf(count: number, what: string): readonly string[] {
  return count === 0 ? [] : [`${count} ${what}`];
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
