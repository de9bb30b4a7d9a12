/**
 * What the admin API needs of the daemon. The API is a door: it knows this interface and not the processes behind it.
 */
import type { RecordFeed } from '../audit/record-feed.ts';
import type {
  AgentEntry,
  CaAnswer,
  CheckAnswer,
  GrantsAnswer,
  HealthAnswer,
  ProblemView,
  ReadyAnswer,
  ReloadAnswer,
  RulesAnswer,
  StatusAnswer,
} from '../domain/admin-api.ts';

export type ReloadResult =
  | { readonly ok: true; readonly answer: ReloadAnswer }
  | { readonly ok: false; readonly generation: number; readonly problems: readonly ProblemView[] };

export interface AdminBackend {
  health(): HealthAnswer;
  ready(): ReadyAnswer;
  status(): Promise<StatusAnswer>;
  rules(): RulesAnswer;
  reload(): Promise<ReloadResult>;
  /** `text`: of one rule file. */
  check(text: string): CheckAnswer;
  grants(): Promise<GrantsAnswer>;
  readonly agents: {
    readonly entries: readonly AgentEntry[];
    tell(entries: readonly AgentEntry[]): void;
    /** False where nothing was known of it. */
    forget(id: string): boolean;
  };
  ca(): Promise<CaAnswer>;
  /** The CA certificate; undefined without a CA. */
  caPem(): string | undefined;
  /** In Prometheus' text format. */
  metrics(): Promise<string>;
  readonly records: Pick<RecordFeed, 'recent' | 'follow'>;
}
