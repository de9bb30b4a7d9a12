/**
 * The operator's API as types: what `outcalld` answers on its admin socket and what `outcall` reads.
 * Errors are application/problem+json (RFC 9457). Nothing here ever carries a key, a header or a body.
 */

import type { AuditRecord } from './record.ts';
import type { Enforcement, Mode } from './verdict.ts';

/** Where the admin socket is unless --admin-socket / OUTCALL_ADMIN_SOCKET says otherwise. */
export const DEFAULT_ADMIN_SOCKET = '/run/outcall/admin.sock';

/** The most records that can be asked for at once. */
export const MAX_RECENT_RECORDS = 1_000;

export const ADMIN_PATHS = {
  openapi: '/v1/openapi.json',
  health: '/v1/health',
  ready: '/v1/ready',
  status: '/v1/status',
  rules: '/v1/rules',
  reload: '/v1/rules/reload',
  check: '/v1/rules/check',
  explain: '/v1/rules/explain',
  grants: '/v1/grants',
  agents: '/v1/agents',
  ca: '/v1/ca',
  caBundle: '/v1/ca/bundle',
  flows: '/v1/flows',
  flowsLive: '/v1/flows/live',
  caRotate: '/v1/ca/rotate',
  caUpload: '/v1/ca/upload',
  records: '/v1/records',
  metrics: '/v1/metrics',
} as const;

/**
 * starting: not all workers listen yet; unlocked: the network lock is not what it should be, and is being set again;
 * draining: told to stop, open flows may still end by themselves.
 */
export type DaemonState = 'starting' | 'ready' | 'degraded' | 'unlocked' | 'draining';

/** GET /v1/health: 200 when ready or degraded (some worker is being replaced), else 503: somebody should look at it. */
export interface HealthAnswer {
  readonly state: DaemonState;
}

/** Why new flows are not served at this moment. */
export type NotReady = 'starting' | 'draining' | 'unlocked' | 'no_worker' | 'audit_blocked';

/**
 * GET /v1/ready: 200 when a flow that starts now would be served, else 503. Health asks whether to look after the daemon,
 * this whether to send it traffic: without a worker for a second it is degraded, and not ready.
 */
export interface ReadyAnswer {
  readonly ready: boolean;
  /** Empty when ready. */
  readonly waiting_for: readonly NotReady[];
}

export interface WorkerStatus {
  readonly id: number;
  readonly pid: number | null;
  readonly listening: boolean;
  readonly open_flows: number | null;
  readonly generation: number;
  readonly restarts: number;
}

/** GET /v1/status */
export interface StatusAnswer {
  readonly version: string;
  readonly pid: number;
  readonly state: DaemonState;
  readonly started_at: string;
  readonly uptime_secs: number;
  readonly listen: string;
  /** `address:port` of the operator's ports on TCP; null where there is none. */
  readonly admin_listen: string | null;
  readonly metrics_listen: string | null;
  readonly rules_path: string;
  readonly generation: number;
  readonly rules: number;
  /** RFC 3339; when the generation was taken. */
  readonly loaded_at: string;
  /** The problems of the last reload that was refused since; empty when the newest set is the one in use. */
  readonly reload_problems: readonly ProblemView[];
  readonly workers: readonly WorkerStatus[];
  readonly open_flows: number;
  readonly ca_loaded: boolean;
  /** `audit`: what no rule allows is let through, and recorded. */
  readonly enforcement: Enforcement;
  /** Rules that record what they would block, and block nothing. */
  readonly rules_in_audit: number;
  /** `off` without --lock; `broken` until a look at the kernel finds it right again. */
  readonly lock: 'off' | 'intact' | 'broken';
  /** --isolated, and the networks in it that are served now, as CIDR; null without the option. */
  readonly isolated: { readonly range: string; readonly served: readonly string[] } | null;
  readonly audit_blocked: boolean;
}

/** One problem of a rule set, as `outcall rules check` prints it. */
export interface ProblemView {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  readonly value?: string;
  readonly fix?: string;
  readonly rule?: string;
}

export interface RuleSummary {
  readonly id: string;
  readonly file: string;
  readonly line: number;
  readonly priority: number;
  readonly description: string | null;
  readonly condition: string;
  readonly action: 'allow' | 'block';
  readonly mode: Mode | null;
}

/** GET /v1/rules: in the order in which they are tried. */
export interface RulesAnswer {
  readonly generation: number;
  readonly rules: readonly RuleSummary[];
}

/** POST /v1/rules/reload, 200. A refused set is 422 with `problems` in the problem document. */
export interface ReloadAnswer {
  readonly generation: number;
  readonly rules: number;
  readonly warnings: readonly ProblemView[];
}

/** POST /v1/rules/check, with the text of one rule file: what the daemon would say to it. Changes nothing. */
export interface CheckAnswer {
  readonly ok: boolean;
  /** 0 where there are errors. */
  readonly rules: number;
  readonly problems: readonly ProblemView[];
}

/** One port of one name that agents reach beside 80 and 443. */
export interface GrantSummary {
  readonly host: string;
  /** The synthetic address. */
  readonly address: string;
  readonly port: number;
  /** Until it ends unless it is used or asked for again; null where the kernel does not have it any more. */
  readonly expires_secs: number | null;
  /** Addresses of the agents that asked for the name. */
  readonly agents: readonly string[];
}

/** GET /v1/grants: empty without --lock. */
export interface GrantsAnswer {
  readonly grants: readonly GrantSummary[];
}

/** A container behind the appliance, as rules know it. */
export interface AgentEntry {
  /** The engine's, 64 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ip: string;
  /** The address is its own for as long as it exists: given by name, not by the engine. What is told is then kept. */
  readonly fixed?: true;
  /** SHA-256 fingerprints (`AB:CD:…`) of the CAs of ours that it was last seen to trust; absent where there were none. */
  readonly trusts?: readonly string[];
}

/** What one entry may hold: what compose and common tools write is far below. */
export const AGENT_LIMITS = { nameChars: 1_024, labels: 128, labelChars: 2_048, trusts: 8 } as const;

/**
 * GET /v1/agents. POST with the same shape tells of these agents beside those that are known; DELETE ?id= takes one away.
 * What is told lasts until the daemon ends.
 */
export interface AgentsAnswer {
  readonly agents: readonly AgentEntry[];
}

/** What is told of one CA. */
export interface CaSummary {
  readonly subject: string;
  readonly fingerprint_sha256: string;
  /** RFC 3339, UTC. */
  readonly not_before: string;
  readonly not_after: string;
  /** The names that it can sign for, each with all below it; null where it can sign for any host. */
  readonly permit_domains: readonly string[] | null;
}

/**
 * GET /v1/ca, and the answer to each change of it. Without a CA all is null but `managed` and the maximum; leaf_cache_size
 * also while the signer is being replaced. On top: the CA that signs.
 */
export interface CaAnswer extends Nullable<CaSummary> {
  readonly loaded: boolean;
  /** Whether outcalld writes the CA itself (--ca-dir), so that it can be changed here. */
  readonly managed: boolean;
  /** To be trusted already; signs from the next rotation on. */
  readonly next: CaSummary | null;
  /** Signed before, and is still to be trusted. */
  readonly previous: CaSummary | null;
  readonly leaf_cache_size: number | null;
  readonly leaf_cache_max: number;
}

/** GET /v1/flows: the last records, oldest first. `live` gives the same as server-sent events named `flow`. */
export interface FlowsAnswer {
  readonly flows: readonly AuditRecord[];
}
type Nullable<T> = { readonly [K in keyof T]: T[K] | null };

/**
 * generate: POST /v1/ca with {"algorithm", "permit_domains"}. rotate: POST /v1/ca/rotate, ?force=1 although agents do
 * not trust the next one yet. delete: DELETE /v1/ca?which=all,
 * &force=1 although rules intercept. The first CA signs at once, another is the next one.
 */
export type CaChange =
  | { readonly kind: 'generate'; readonly algorithm: 'rsa' | 'ecdsa'; readonly permitDomains: readonly string[] }
  | { readonly kind: 'rotate'; readonly force: boolean }
  | { readonly kind: 'delete'; readonly which: 'next' | 'previous' | 'all'; readonly force: boolean };

/**
 * POST /v1/ca/upload with `Connection: Upgrade` and this protocol, on the Unix socket alone. After 101 the client sends the
 * certificate and its key in PEM and closes its direction; it reads one JSON document, CaAnswer or ProblemDocument.
 */
export const CA_UPLOAD_PROTOCOL = 'outcall-ca-upload';

/** RFC 9457. */
export interface ProblemDocument {
  readonly type: 'about:blank';
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly problems?: readonly ProblemView[];
}
