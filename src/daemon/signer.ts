/**
 * The signer process: the only one that is told where the CA key is (threats row 35). Mints for hosts that an intercept
 * rule of the set in force could match, and for no other (row 34); before it has rules, for none.
 */
import { createLog } from '../audit/log.ts';
import type { Host } from '../domain/hostname.ts';
import { runSigner } from '../pki/signer.ts';
import { hardenSignerProcess } from '../pki/signer-process.ts';
import { loadRules } from '../policy/load.ts';
import { emptyRuleSet, type RuleSet } from '../policy/rule-set.ts';
import { ipcPort } from './ipc-port.ts';
import type { FromSigner, RulesPayload, SignerStart, ToSigner } from './messages.ts';

/** Serves until the supervisor says stop or is gone, then exits: 0, or 1 when the CA cannot be used. */
export async function signerMain(): Promise<void> {
  // The supervisor says when: a signal to the whole group must not end the signer before its flows.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  process.title = 'outcalld signer';
  let rules: RuleSet = emptyRuleSet;
  const { promise: started, resolve: onStart } = Promise.withResolvers<SignerStart>();
  process.on('message', (message: ToSigner) => {
    if (message.type === 'start') onStart(message);
    if (message.type === 'rules') rules = take(message.rules);
  });
  process.on('disconnect', onOrphaned);
  const { source, leafTtlSecs, logLevel } = await started;
  const log = createLog({ level: logLevel, name: 'signer' });
  for (const lack of hardenSignerProcess()) log.warn({ event: 'signer_hardening' }, lack);
  process.off('disconnect', onOrphaned); // from here on runSigner sees to it, and zeroes the key first
  const config = {
    ...source,
    leafTtlSecs,
    mayMint: (host: Host) => rules.couldIntercept(host),
  };
  const outcome = await runSigner(ipcPort(process), config);
  process.exit(outcome === 'stopped' ? 0 : 1);
}

/** The supervisor is gone before there was a key to zero. */
function onOrphaned(): void {
  process.exit(1);
}

function take({ sources, ...context }: RulesPayload): RuleSet {
  const loaded = loadRules(sources, context);
  // The supervisor compiled the same text; what fails here is a fault, and a signer without rules mints nothing.
  if (!loaded.ok) throw new Error('the rule set does not compile in the signer');
  process.send?.({ type: 'rules_taken', generation: context.generation } satisfies FromSigner);
  return loaded.rules;
}
