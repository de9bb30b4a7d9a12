/** A container as rules know it: `agent.name`, `agent.image`, `agent.labels`, `agent.ip`. Pure. */
import type { AgentEntry } from '../domain/admin-api.ts';
import { AGENT_LIMITS } from '../domain/admin-api.ts';
import type { ContainerView } from './container-view.ts';

/** `trusts`: of trustedBy. Labels beyond the limits are left out: a rule that asks for one of them does not match. */
export function agentEntry(
  { id, name, image, labels }: ContainerView,
  ip: string,
  fixed: boolean,
  trusts: readonly string[],
): AgentEntry {
  const kept = Object.entries(labels)
    .filter(([key, value]) => key.length + value.length <= AGENT_LIMITS.labelChars)
    .slice(0, AGENT_LIMITS.labels);
  const more = { ...(fixed ? { fixed } : {}), ...(trusts.length > 0 ? { trusts } : {}) };
  return { id, name, image, labels: Object.fromEntries(kept), ip, ...more };
}
