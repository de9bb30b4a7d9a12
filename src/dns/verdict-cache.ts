/**
 * What was decided of a question, kept for as long as the same agent asks it under the same rule set: spares the
 * reading of the name and the walk over the rules. Bounded; the agents choose the questions, so it is emptied when full.
 */
import type { AgentFacts } from '../domain/facts.ts';
import type { Decision } from './filter.ts';

export interface Decided {
  readonly decision: Decision;
  /** As WireName.text. */
  readonly name: string;
}

interface Entry {
  readonly decided: Decided;
  /** By identity. */
  readonly agent: AgentFacts;
  readonly generation: number;
}

const MAX_ENTRIES = 16_384;

export class VerdictCache {
  readonly #entries = new Map<string, Entry>();

  /** `question` is name, type and class as they stand in the message, so that each spelling is an entry of its own. */
  get(agentIp: string, question: string, agent: AgentFacts, generation: number): Decided | undefined {
    const entry = this.#entries.get(`${agentIp}|${question}`);
    return entry?.generation === generation && entry.agent === agent ? entry.decided : undefined;
  }

  set(agentIp: string, question: string, agent: AgentFacts, generation: number, decided: Decided): void {
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear();
    this.#entries.set(`${agentIp}|${question}`, { decided, agent, generation });
  }
}
