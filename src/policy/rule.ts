/**
 * One rule, ready to be decided on: its condition compiled, its verdicts made.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { Allow, Block, Enforcement, Mode, TlsGrant } from '../domain/verdict.ts';
import type { Condition } from './cel-check.ts';
import type { Reader } from './cel-compile.ts';
import type { Frame } from './frame.ts';
import { type HostScope, hostScope } from './host-scope.ts';
import { BODY_NAMES, HELLO_NAMES, REQUEST_NAMES } from './names.ts';
import { namedRecordTypes } from './record-types.ts';
import type { TlsMatch } from './tls-match.ts';

/** What `outcall rules list` shows. */
export interface RuleView {
  readonly id: string;
  readonly file: string;
  readonly line: number;
  readonly priority: number;
  /** Empty when there is none. */
  readonly description: string;
  /** As written, definitions not expanded. */
  readonly condition: string;
  readonly action: 'allow' | 'block';
  /** null for a block rule. */
  readonly mode: Mode | null;
  /** As it is in force: by the rule, its file, or the daemon. */
  readonly enforcement: Enforcement;
}

/** A rule as it was read and found right, in terms of the schema. */
export interface RuleDraft {
  readonly view: RuleView;
  readonly condition: Condition;
  readonly log: boolean;
  readonly ports: readonly number[] | undefined;
  readonly matchBody: boolean;
  readonly allowPrivateIps: boolean;
  /** PEM texts. */
  readonly trustAnchors: readonly string[];
  /** What has to match beside the condition; undefined where nothing has. */
  readonly tls: TlsMatch | undefined;
  readonly tlsGrant: TlsGrant | undefined;
  /** egress.response */
  readonly response: Condition | undefined;
}

export interface Rule {
  readonly view: RuleView;
  /** Position in the walk: priority, then file name, then place in the file. */
  readonly order: number;
  readonly read: Reader<Frame>;
  readonly scope: HostScope;
  readonly ports: ReadonlySet<number> | undefined;
  /** For explanations and lints; nothing is decided by it. */
  readonly ast: ASTNode;
  /** A metadata rule's matchers. It tunnels, so it never allows a request. */
  readonly tls: TlsMatch | undefined;
  /** The condition or the response condition looks at the ClientHello. */
  readonly usesHello: boolean;
  /** What it would block is let through and recorded. */
  readonly audits: boolean;
  /** Of an intercept rule: what the response has to be. */
  readonly response: Condition | undefined;
  /** The condition says something about the request, so it may be undecided at CONNECT. */
  readonly usesRequest: boolean;
  readonly usesPath: boolean;
  /** The condition is given the body: match_body, or a block rule that looks at it. */
  readonly readsBody: boolean;
  /** DNS record types that the condition names. */
  readonly recordTypes: ReadonlySet<string>;
  /** For an allow rule. */
  readonly allow: Allow | undefined;
  /** For a block rule: its condition was true, or could not be evaluated. For an allow rule: the response's. */
  readonly block: Block;
  readonly blockOnError: Block;
}

export function makeRule(draft: RuleDraft, order: number): Rule {
  const { view, condition, response, ports, matchBody } = draft;
  const uses = [...condition.uses];
  const blocks = view.action === 'block';
  return {
    view,
    order,
    read: condition.read,
    ast: condition.ast,
    scope: hostScope(condition.ast),
    ports: ports === undefined ? undefined : new Set(ports),
    tls: draft.tls,
    usesHello: [...uses, ...(response?.uses ?? [])].some((name) => HELLO_NAMES.has(name)),
    audits: view.enforcement === 'audit',
    response,
    usesRequest: uses.some((name) => REQUEST_NAMES.has(name)),
    usesPath: condition.uses.has('http.path'),
    // A block rule has no egress to opt in with: naming the body is its opting in.
    readsBody: matchBody || (blocks && uses.some((name) => BODY_NAMES.has(name))),
    recordTypes: namedRecordTypes(condition.ast),
    allow: blocks ? undefined : allowBy(draft),
    block: blockBy(draft, 'rule'),
    blockOnError: blockBy(draft, 'error'),
  };
}

function allowBy({ view, log, allowPrivateIps, trustAnchors, tlsGrant, response }: RuleDraft): Allow {
  const grant = { mode: view.mode ?? 'proxy', allowPrivateIps, trustAnchors, tls: tlsGrant } as const;
  const checksResponse = response !== undefined;
  return { action: 'allow', ruleId: view.id, grant, log, provisional: false, checksResponse, wouldBlock: undefined };
}

function blockBy({ view, log }: RuleDraft, cause: 'rule' | 'error'): Block {
  const what = view.action === 'block' ? `rule ${view.id}` : `the response, by rule ${view.id}`;
  const reason = cause === 'rule' ? what : `${what} could not be evaluated`;
  return { action: 'block', ruleId: view.id, cause, reason, log };
}
