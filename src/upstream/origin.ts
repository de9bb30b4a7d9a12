/**
 * What a flow asks of this folder, and the keys under which what it got may be used again (threat 38).
 */
import { createHash } from 'node:crypto';
import type { Host } from '../domain/hostname.ts';
import type { Grant } from '../domain/verdict.ts';

/** Who wants to go where, and what the rule that allowed it grants. */
export interface OriginRequest {
  /** Canonical address of the agent. */
  readonly agentIp: string;
  readonly host: Host;
  readonly port: number;
  readonly grant: Grant;
}

/** By identity: a rule set hands out the same array for the same rule. */
const fingerprints = new WeakMap<readonly string[], string>();

/** What was learnt of an origin holds for everyone who trusts the same roots and may reach the same addresses. */
export function originKey(origin: OriginRequest): string {
  const { host, port, grant } = origin;
  return `${host}|${port}|${grant.allowPrivateIps ? 'private' : 'public'}|${anchorsFingerprint(grant.trustAnchors)}`;
}

/** Connections and TLS sessions stay with the agent that they were made for. */
export function connectionKey(origin: OriginRequest): string {
  return `${origin.agentIp}|${originKey(origin)}`;
}

/** SHA-256 of the anchors in their order; empty for none. */
export function anchorsFingerprint(anchors: readonly string[]): string {
  if (anchors.length === 0) return '';
  let fingerprint = fingerprints.get(anchors);
  if (fingerprint === undefined) {
    const hash = createHash('sha256');
    // The length keeps two lists apart that differ only in where one PEM ends.
    for (const anchor of anchors) hash.update(`${anchor.length}:`).update(anchor);
    fingerprint = hash.digest('base64url');
    fingerprints.set(anchors, fingerprint);
  }
  return fingerprint;
}
