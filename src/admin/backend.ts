/**
 * What the admin API needs of the daemon. The API is a door: it knows this interface and not the processes behind it.
 */
import type { Socket } from 'node:net';
import type { RecordFeed } from '../audit/record-feed.ts';
import type {
  AgentEntry,
  CaAnswer,
  CaChange,
  CheckAnswer,
  GrantsAnswer,
  HealthAnswer,
  ProblemView,
  ReadyAnswer,
  ReloadAnswer,
  RulesAnswer,
  StatusAnswer,
} from '../domain/admin-api.ts';
import type { Explanation } from '../policy/explain.ts';

export type ReloadResult =
  | { readonly ok: true; readonly answer: ReloadAnswer }
  | { readonly ok: false; readonly generation: number; readonly problems: readonly ProblemView[] };

/** undefined: no rules are in force yet. */
export type ExplainResult =
  | { readonly ok: true; readonly explanation: Explanation }
  | { readonly ok: false; readonly problems: readonly ProblemView[] }
  | undefined;

/** `status`: of HTTP. */
export type CaOutcome =
  | { readonly ok: true; readonly answer: CaAnswer }
  | { readonly ok: false; readonly status: number; readonly detail: string };

export interface AdminBackend {
  health(): HealthAnswer;
  ready(): ReadyAnswer;
  status(): Promise<StatusAnswer>;
  rules(): RulesAnswer;
  reload(): Promise<ReloadResult>;
  /** `text`: of one rule file. */
  check(text: string): Promise<CheckAnswer>;
  /** `text`: one question, as of policy/cases.ts. */
  explain(text: string): Promise<ExplainResult>;
  grants(): Promise<GrantsAnswer>;
  readonly agents: {
    readonly entries: readonly AgentEntry[];
    tell(entries: readonly AgentEntry[]): void;
    /** False where nothing was known of it. */
    forget(id: string): boolean;
  };
  ca(): Promise<CaAnswer>;
  /** What agents are to trust, one PEM text each, the CA that signs first; empty without a CA. */
  caCertificates(): readonly string[];
  /** Resolves when all processes have taken it. Never rejects. */
  changeCa(change: CaChange): Promise<CaOutcome>;
  /** Who takes a connection over which a CA is sent, with its key; undefined where none can be. See CA_UPLOAD_PROTOCOL. */
  uploadCa(): ((socket: Socket, text: (outcome: CaOutcome) => string) => Promise<void>) | undefined;
  /** In Prometheus' text format. */
  metrics(): Promise<string>;
  readonly records: Pick<RecordFeed, 'recent' | 'follow'>;
}
