/**
 * Decides whether an address may be dialled: by its class, by the rule's grant, and by the operator's --allow-private.
 * Judges addresses that are pinned, so a name that changes its answer gains nothing (threats 4, 18, 24).
 *   public                                 always, unless it is our own
 *   private (RFC 1918, ULA), shared        with egress.allow_private_ips, or in a range of --allow-private
 *   benchmarking, documentation, reserved  in a range of --allow-private
 *   loopback, link-local                   in a range of --allow-private that is no wider than that block
 *   metadata, our own addresses            named one by one in --allow-private
 *   the agents' network, operator's ports  never, whatever names them (threats 23, 24, 25)
 */
import { type CidrSet, canonicalIp, classifyIp, type IpClass } from '../domain/ip.ts';
import type { Grant } from '../domain/verdict.ts';

export interface AddressGuardOptions {
  /** The operator's --allow-private. */
  readonly allowPrivate: CidrSet;
  /** Addresses of the appliance's interfaces at this moment, in canonical form. */
  readonly ownAddresses: () => ReadonlySet<string>;
  /** No grant and no --allow-private reaches these: what is here is another agent, or an address that we made up. */
  readonly neverDial?: CidrSet;
  /** Where the operator's API and metrics listen on this machine. */
  readonly operatorPorts?: ReadonlySet<number>;
}

/** How narrow a range of --allow-private must be to be meant for the class: its block's own prefix. */
const LOOPBACK_PREFIX = { v4: 8, v6: 128 } as const;
const LINK_LOCAL_PREFIX = { v4: 16, v6: 10 } as const;

export class AddressGuard {
  readonly #options: AddressGuardOptions;

  constructor(options: AddressGuardOptions) {
    this.#options = options;
  }

  /** Undefined when the canonical `address` may be dialled at `port` under `grant`; else why not, for the record. */
  refusal(address: string, port: number, grant: Pick<Grant, 'allowPrivateIps'>): string | undefined {
    const { allowPrivate, ownAddresses, neverDial, operatorPorts } = this.#options;
    if (neverDial?.contains(address) === true) return `address of the agents' network ${address}`;
    const ipClass = classifyIp(address);
    if (operatorPorts?.has(port) === true && (ipClass === 'loopback' || ownAddresses().has(address))) {
      return `operator's port ${port} of own address ${address}`;
    }
    // Loopback is ours too, and has its own line below: there a range may name it.
    if (ipClass !== 'loopback' && ownAddresses().has(address)) {
      return allowPrivate.contains(address, 'exact') ? undefined : `own address ${address}`;
    }
    return this.#permits(ipClass, address, grant) ? undefined : `${ipClass.replace('_', '-')} address ${address}`;
  }

  #permits(ipClass: IpClass, address: string, grant: Pick<Grant, 'allowPrivateIps'>): boolean {
    const { allowPrivate } = this.#options;
    const family = address.includes(':') ? 'v6' : 'v4';
    switch (ipClass) {
      case 'public':
        return true;
      case 'private':
      case 'shared':
        return grant.allowPrivateIps || allowPrivate.contains(address);
      case 'benchmarking':
      case 'documentation':
      case 'reserved':
        return allowPrivate.contains(address);
      case 'loopback':
        return allowPrivate.contains(address, LOOPBACK_PREFIX[family]);
      case 'link_local':
        return allowPrivate.contains(address, LINK_LOCAL_PREFIX[family]);
      case 'metadata':
        return allowPrivate.contains(address, 'exact');
      case 'unspecified':
      case 'multicast':
      case 'broadcast':
      case 'translated':
      case 'invalid':
        return false;
    }
  }
}

/**
 * The addresses that may be dialled at `port` under `grant`, in canonical form and their order kept, and the reasons against
 * the others.
 */
export function admitAddresses(
  guard: AddressGuard,
  addresses: readonly string[],
  port: number,
  grant: Pick<Grant, 'allowPrivateIps'>,
): { readonly admitted: readonly string[]; readonly refusals: readonly string[] } {
  const admitted: string[] = [];
  const refusals: string[] = [];
  for (const text of addresses) {
    const address = canonicalIp(text) ?? text;
    const refusal = guard.refusal(address, port, grant);
    if (refusal === undefined) admitted.push(address);
    else refusals.push(refusal);
  }
  return { admitted, refusals };
}
