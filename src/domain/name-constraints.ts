/**
 * What a CA may sign for by its own certificate (nameConstraints, RFC 5280 section 4.2.1.10), as plain data: the signer
 * refuses by it, rules are checked against it. Reads no certificate: see pki/name-constraints.ts.
 */
import { type Host, isAddress } from './hostname.ts';

export interface NameConstraints {
  /** Names that it may sign for, with all below them; `.a.test` is all below a.test alone. Undefined: any name. */
  readonly permitted: readonly string[] | undefined;
  /** Names that it may not sign for, with all below them. */
  readonly excluded: readonly string[];
  /** Whether it may sign for IP addresses. */
  readonly addresses: boolean;
}

export function maySign({ permitted, excluded, addresses }: NameConstraints, host: Host): boolean {
  if (isAddress(host)) return addresses;
  if (excluded.some((name) => isWithin(host, name))) return false;
  return permitted === undefined || permitted.some((name) => isWithin(host, name));
}

/** `name` or below it; where it begins with a dot, below it. An empty one is every name. */
export function isWithin(host: string, name: string): boolean {
  if (name === '' || name === '.') return true;
  return name.startsWith('.') ? host.endsWith(name) : host === name || host.endsWith(`.${name}`);
}
