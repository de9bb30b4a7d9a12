/**
 * The messages between the signer and those who ask it for leaves. Each side reads what comes in by hand and takes nothing
 * else for its own; a worker is the process that agents can reach, so the signer believes none of its words.
 */
import type { CaInfo } from './ca-certificate.ts';
import type { Leaf } from './leaf.ts';

/** Asker to signer. */
export interface LeafRequest {
  readonly type: 'leaf_request';
  /** Chosen by the asker, repeated in the answer. */
  readonly id: number;
  readonly host: string;
}

export interface StatusRequest {
  readonly type: 'signer_status_request';
  readonly id: number;
}

/** Drop the leaves and the key, say signer_stopped, and end. */
export interface StopRequest {
  readonly type: 'signer_stop';
}

/** Signer to asker. */
export type LeafReply =
  | { readonly type: 'leaf_reply'; readonly id: number; readonly leaf: Leaf }
  | { readonly type: 'leaf_refused'; readonly id: number; readonly detail: string };

export interface StatusReply {
  readonly type: 'signer_status';
  readonly id: number;
  readonly leaf_cache_size: number;
  readonly leaf_cache_max: number;
}

/** The first message of a signer is one of these two. */
export interface SignerReady {
  readonly type: 'signer_ready';
  readonly ca: CaInfo;
}

export interface SignerFailed {
  readonly type: 'signer_failed';
  /** For the operator; names the file. Never holds key material. */
  readonly message: string;
}

/** Once per leaf signed, for the log (`event=leaf_generated`). */
export interface LeafGenerated {
  readonly type: 'leaf_generated';
  readonly host: string;
  readonly serial: string;
  /** RFC 3339, UTC. */
  readonly not_after: string;
  readonly duration_ms: number;
}

export interface SignerStopped {
  readonly type: 'signer_stopped';
}

interface MessageByType {
  leaf_request: LeafRequest;
  signer_status_request: StatusRequest;
  signer_stop: StopRequest;
  leaf_reply: LeafReply & { type: 'leaf_reply' };
  leaf_refused: LeafReply & { type: 'leaf_refused' };
  signer_status: StatusReply;
  signer_ready: SignerReady;
  signer_failed: SignerFailed;
  leaf_generated: LeafGenerated;
  signer_stopped: SignerStopped;
}

/** The fields that each message must have, by typeof. */
const FIELDS: { readonly [T in keyof MessageByType]: Readonly<Record<string, 'string' | 'number' | 'object'>> } = {
  leaf_request: { id: 'number', host: 'string' },
  signer_status_request: { id: 'number' },
  signer_stop: {},
  leaf_reply: { id: 'number', leaf: 'object' },
  leaf_refused: { id: 'number', detail: 'string' },
  signer_status: { id: 'number', leaf_cache_size: 'number', leaf_cache_max: 'number' },
  signer_ready: { ca: 'object' },
  signer_failed: { message: 'string' },
  leaf_generated: { host: 'string', serial: 'string', not_after: 'string', duration_ms: 'number' },
  signer_stopped: {},
};

/** The message where it is of this type and whole; undefined for anything else. */
export function readMessage<T extends keyof MessageByType>(type: T, message: unknown): MessageByType[T] | undefined {
  if (typeof message !== 'object' || message === null) return undefined;
  const fields = message as Record<string, unknown>;
  if (fields['type'] !== type) return undefined;
  for (const [field, kind] of Object.entries(FIELDS[type])) {
    if (typeof fields[field] !== kind || fields[field] === null) return undefined;
  }
  return message as MessageByType[T];
}
