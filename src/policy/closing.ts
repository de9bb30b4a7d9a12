/**
 * What becomes of what no rule allows: a block, unless the set is in audit; then it is let through and the block recorded.
 */
import type { Allow, Block, Enforcement, Grant } from '../domain/verdict.ts';

export interface Closing {
  readonly enforcement: Enforcement;
  /** In audit: through a tunnel, or decrypted so that requests are seen. */
  readonly unmatched: 'tunnel' | 'intercept';
}

export const ENFORCED: Closing = { enforcement: 'enforce', unmatched: 'tunnel' };

export const DEFAULT_BLOCK: Block = {
  action: 'block',
  ruleId: 'default',
  cause: 'default',
  reason: 'no rule allows this request',
  log: true,
};

/** Undefined where the default is enforced. Address classes are not opened by audit, so private addresses stay refused. */
export function closingAllow({ enforcement, unmatched }: Closing): Allow | undefined {
  if (enforcement === 'enforce') return undefined;
  const mode = unmatched === 'intercept' ? 'intercept' : 'proxy';
  const grant: Grant = { mode, allowPrivateIps: false, trustAnchors: [], tls: undefined };
  return {
    ...{ action: 'allow', ruleId: 'default', grant, log: true },
    ...{ provisional: false, checksResponse: false, wouldBlock: DEFAULT_BLOCK },
  };
}

/** The same, with what would have been blocked before it; recorded if either of the two says so. */
export function withWouldBlock(allow: Allow, wouldBlock: Block | undefined): Allow {
  return wouldBlock === undefined ? allow : { ...allow, wouldBlock, log: allow.log || wouldBlock.log };
}
