/**
 * The messages between the signer and those who ask it for leaves. Each side reads what comes in by hand and takes nothing
 * else for its own; a worker is the process that agents can reach, so the signer believes none of its words.
 */
import type { CaSet } from './ca-certificate.ts';
import type { CaErrorKind } from './ca-error.ts';
import type { CaAlgorithm } from './certificate.ts';
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

/** What is to become of the CAs of the folder that this signer keeps. A CA that is brought comes over a socket of its own. */
export type SignerChange =
  | { readonly kind: 'generate'; readonly algorithm: CaAlgorithm; readonly permitDomains: readonly string[] }
  | { readonly kind: 'rotate' }
  | { readonly kind: 'drop'; readonly which: 'next' | 'previous' | 'all' };

export interface ChangeRequest {
  readonly type: 'ca_change';
  readonly id: number;
  readonly change: SignerChange;
}

/** Comes with a connected socket, over which a certificate and key are sent until its other end is closed. */
export interface UploadRequest {
  readonly type: 'ca_upload';
  readonly id: number;
}

/**
 * Follows a ca_upload. Node sends nothing after a socket until the other process has it and its own end of it is closed, so
 * that from here on the signer alone reads what comes.
 */
export interface UploadBegin {
  readonly type: 'ca_upload_begin';
  readonly id: number;
}

/** What is to be written to the socket of this upload before it is closed. */
export interface UploadAnswer {
  readonly type: 'ca_upload_answer';
  readonly id: number;
  readonly text: string;
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

/** To a change and to an upload alike: the CAs as they are now, or why nothing was changed. */
export type ChangeReply =
  | { readonly type: 'ca_changed'; readonly id: number; readonly cas: CaSet }
  | { readonly type: 'ca_refused'; readonly id: number; readonly kind: CaErrorKind; readonly message: string };

/** The first message of a signer is one of these two. */
export interface SignerReady {
  readonly type: 'signer_ready';
  readonly cas: CaSet;
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
  ca_change: ChangeRequest;
  ca_upload: UploadRequest;
  ca_upload_begin: UploadBegin;
  ca_upload_answer: UploadAnswer;
  ca_changed: ChangeReply & { type: 'ca_changed' };
  ca_refused: ChangeReply & { type: 'ca_refused' };
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
  ca_change: { id: 'number', change: 'object' },
  ca_upload: { id: 'number' },
  ca_upload_begin: { id: 'number' },
  ca_upload_answer: { id: 'number', text: 'string' },
  ca_changed: { id: 'number', cas: 'object' },
  ca_refused: { id: 'number', kind: 'string', message: 'string' },
  signer_stop: {},
  leaf_reply: { id: 'number', leaf: 'object' },
  leaf_refused: { id: 'number', detail: 'string' },
  signer_status: { id: 'number', leaf_cache_size: 'number', leaf_cache_max: 'number' },
  signer_ready: { cas: 'object' },
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
