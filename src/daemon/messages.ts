/**
 * What the processes of outcalld say to each other over node's IPC channel, beside pki/signer-protocol.ts, which shares
 * the channel. Types alone. The CA key is in none of these.
 */
import type { Sample } from '../audit/metrics.ts';
import type { AgentEntry } from '../domain/admin-api.ts';
import type { Host } from '../domain/hostname.ts';
import type { Enforcement } from '../domain/verdict.ts';
import type { CaSource } from '../pki/signer.ts';
import type { RuleSource } from '../policy/load.ts';
import type { DaemonOptions } from './options.ts';

export type Role = 'worker' | 'signer';

/** Names the role of a process that the supervisor started; means nothing without its IPC channel. */
export const ROLE_VARIABLE = 'OUTCALLD_ROLE';

/** In a child: after the standard streams and the channel, the inherited listening socket of the transparent door. */
export const TRANSPARENT_FD = 4;

/** A rule set as text: each process compiles the same. */
export interface RulesPayload {
  readonly generation: number;
  readonly caLoaded: boolean;
  readonly enforcement: Enforcement;
  readonly sources: readonly RuleSource[];
  readonly anchors: ReadonlyMap<string, string>;
}

export interface WorkerStart {
  readonly type: 'start';
  readonly name: string;
  readonly options: DaemonOptions;
  /** The port to listen on: that of the options, or what the first worker was given where that was 0. */
  readonly port: number;
  readonly rules: RulesPayload;
  readonly upstreamCaPem: readonly string[];
  readonly ticketKeys: Uint8Array;
  /** Dialled on no address of ours. */
  readonly operatorPorts: readonly number[];
}

export type ToWorker =
  | WorkerStart
  | { readonly type: 'rules'; readonly rules: RulesPayload }
  /** Standard output of the supervisor fails (true) or works again. */
  | { readonly type: 'audit_hold'; readonly held: boolean }
  | { readonly type: 'worker_status' }
  /** All that is known of agents now. */
  | { readonly type: 'agents'; readonly agents: readonly AgentEntry[] }
  /** All addresses beside that of the options where the proxy listens now. */
  | { readonly type: 'listen_at'; readonly addresses: readonly Host[] }
  /** To `which_name`; undefined where the address stands for none. */
  | { readonly type: 'name_of'; readonly address: string; readonly host: Host | undefined }
  /** The address stands for another name from now on, or for none. */
  | { readonly type: 'name_changed'; readonly address: string }
  /** What agents are to trust, in PEM, undefined without a CA; leaves that the CA of before has signed are to be forgotten. */
  | { readonly type: 'ca'; readonly bundle: string | undefined; readonly forgetLeaves: boolean }
  /** Stop accepting, let flows end within the grace, reset the rest, write the last records, exit. */
  | { readonly type: 'drain'; readonly graceMs: number };

export type FromWorker =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'listen_failed'; readonly code: string; readonly message: string }
  | { readonly type: 'rules_taken'; readonly generation: number }
  /** Which name does this synthetic address stand for. */
  | { readonly type: 'which_name'; readonly address: string }
  | {
      readonly type: 'worker_status';
      readonly openFlows: number;
      readonly auditBlocked: boolean;
      /** Its figures since it began. */
      readonly samples: readonly Sample[];
    };

export interface SignerStart {
  readonly type: 'start';
  readonly source: CaSource;
  readonly leafTtlSecs: number;
  readonly logLevel: DaemonOptions['logLevel'];
}

export type ToSigner = SignerStart | { readonly type: 'rules'; readonly rules: RulesPayload };

export type FromSigner = { readonly type: 'rules_taken'; readonly generation: number };
