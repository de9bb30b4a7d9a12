/**
 * The server name of a ClientHello must be the host of its connection (threats 1, 20). RFC 6066 section 3 has none for
 * addresses, and Java sends none for names without a dot. A rule with egress.tls may make exceptions.
 */
import type { FailureReason } from '../domain/failure.ts';
import { type Host, isAddress } from '../domain/hostname.ts';
import type { TlsGrant } from '../domain/verdict.ts';
import { escapeForLog } from '../wire/escape.ts';
import type { Hello } from './peek.ts';

/** The longest name that is written to the audit record. */
const LOGGED_NAME_CHARS = 256;

export interface NameProblem {
  readonly reason: Extract<FailureReason, 'sni_missing' | 'sni_mismatch' | 'ech_unverifiable'>;
  readonly detail?: string;
}

/** `sni`: canonical, or undefined where it has no such form. A GREASE encrypted_client_hello beside the right name passes. */
export function sniProblem(
  hello: Hello,
  sni: string | undefined,
  host: Host,
  exceptions: TlsGrant | undefined,
): NameProblem | undefined {
  if (hello.sni === undefined) {
    const mayLack = isAddress(host) || !host.includes('.') || exceptions?.sniAbsent === true;
    return mayLack ? undefined : { reason: 'sni_missing' };
  }
  if (sni === host) return undefined;
  const excepted = (hello.ech && exceptions?.ech === true) || (isAddress(host) && exceptions?.matchesSni === true);
  if (sni !== undefined && excepted) return undefined;
  return {
    reason: hello.ech ? 'ech_unverifiable' : 'sni_mismatch',
    detail: `SNI ${escapeForLog(hello.sni, LOGGED_NAME_CHARS)} on a connection for ${host}`,
  };
}
