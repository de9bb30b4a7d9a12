/**
 * What is known of the containers behind the appliance, by their address: told by `outcall attach` and `outcall watch`
 * through the admin API; agents-file.ts keeps some of it. Gives the same object until it changes. An address that nobody
 * spoke for has no name, no image and no labels, so no rule that asks for one of them matches it.
 */
import type { AgentEntry } from '../domain/admin-api.ts';
import type { AgentFacts } from '../domain/facts.ts';
import type { AgentsFile } from './agents-file.ts';

/** Twice the addresses of the usual agents' network; who forges more gets new objects of the same content. */
const MAX_UNKNOWN = 65_536;

export class AgentDirectory {
  readonly #entries = new Map<string, AgentEntry>();
  readonly #known = new Map<string, AgentFacts>();
  readonly #unknown = new Map<string, AgentFacts>();
  readonly #onChange: (() => void) | undefined;
  readonly #file: AgentsFile | undefined;

  /** What the file holds is known from the start. */
  constructor(onChange?: () => void, file?: AgentsFile) {
    this.#onChange = onChange;
    for (const entry of file?.read() ?? []) this.#add(entry);
    this.#file = file;
  }

  /** `ip` in canonical form. */
  factsOf(ip: string): AgentFacts {
    return this.#known.get(ip) ?? this.#unknown.get(ip) ?? this.#meet(ip);
  }

  get entries(): readonly AgentEntry[] {
    return [...this.#entries.values()];
  }

  /** The last word on a container, and on an address: whoever had the address before has it no more. */
  tell(entries: readonly AgentEntry[]): void {
    for (const entry of entries) {
      const former = [...this.#entries.values()].filter(({ id, ip }) => id === entry.id || ip === entry.ip);
      for (const each of former) this.#drop(each);
      this.#add(entry);
    }
    this.#changed();
  }

  /** False where nothing was known of it. */
  forget(id: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#drop(entry);
    this.#changed();
    return true;
  }

  /** What another process knows, in place of all that was known here. Objects of what did not change stay the same. */
  replace(entries: readonly AgentEntry[]): void {
    const said = new Map(entries.map((entry) => [entry.id, JSON.stringify(entry)]));
    for (const entry of this.entries) if (said.get(entry.id) !== JSON.stringify(entry)) this.#drop(entry);
    this.tell(entries.filter(({ id }) => !this.#entries.has(id)));
  }

  #changed(): void {
    this.#file?.write(this.entries);
    this.#onChange?.();
  }

  #add(entry: AgentEntry): void {
    const { id, name, image, labels, ip } = entry;
    this.#entries.set(id, entry);
    this.#known.set(ip, { name, image, labels, ip });
  }

  #drop({ id, ip }: AgentEntry): void {
    this.#entries.delete(id);
    this.#known.delete(ip);
  }

  #meet(ip: string): AgentFacts {
    const facts: AgentFacts = { name: '', image: '', labels: {}, ip };
    if (this.#unknown.size >= MAX_UNKNOWN) this.#unknown.clear();
    this.#unknown.set(ip, facts);
    return facts;
  }
}
