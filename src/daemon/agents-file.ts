/**
 * Who the agents are, kept in one small file over a restart of the daemon. Of those alone whose address is their own for as
 * long as they exist: any other may have passed to somebody else meanwhile, who must not be taken for it. What cannot be read
 * is nobody: rules that ask for a name then match none, until attach or watch tells again (threat 40).
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readAgents } from '../admin/agents.ts';
import type { Log } from '../audit/log.ts';
import type { AgentEntry } from '../domain/admin-api.ts';

/** Names and labels of containers are nobody else's business. */
const FILE_MODE = 0o600;

/** `path` is --agents-file. */
export function openAgentsFile(path: string | undefined, log: Log): AgentsFile | undefined {
  return path === undefined ? undefined : new AgentsFile(path, log);
}

export class AgentsFile {
  readonly #path: string;
  readonly #log: Log;
  #written = '';

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /** Never throws. */
  read(): readonly AgentEntry[] {
    try {
      const text = readFileSync(this.#path, 'utf8');
      const agents = readAgents(text);
      this.#written = text;
      return agents;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') this.#complain('agents_not_read', message);
      return [];
    }
  }

  /** Whole or not at all. Never throws: without the file, only a restart would miss it. */
  write(entries: readonly AgentEntry[]): void {
    const text = `${JSON.stringify({ agents: entries.filter(({ fixed }) => fixed) })}\n`;
    if (text === this.#written) return;
    try {
      writeFileSync(`${this.#path}.new`, text, { mode: FILE_MODE, flush: true });
      renameSync(`${this.#path}.new`, this.#path);
      this.#written = text;
    } catch (error) {
      this.#complain('agents_not_kept', (error as Error).message);
    }
  }

  #complain(event: string, why: string): void {
    this.#log.error({ event, file: this.#path, why }, 'who the agents are is not kept over a restart');
  }
}
