/**
 * Says when the rules on disk may have changed. Watches the folder, since a watch on a file dies at the first atomic
 * rename, and looks at the files' dates now and then, since links may lead where no watch is. Reads no rules.
 */
import { type FSWatcher, watch } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { rulesFolder } from '../config/rules-files.ts';

/** An editor writes, renames and touches: one reload for all of that, and after it. */
const SETTLE_MS = 100;
/** For changes that no watch sees: a link's target, a folder that was replaced, a file system without inotify. */
const RESCAN_MS = 2_000;

/** Calls `onMaybeChanged` after each burst of changes beside `rulesPath`. Returns what ends it. */
export function watchRules(rulesPath: string, onMaybeChanged: () => void): () => void {
  const watcher = new RulesWatch(rulesPath, onMaybeChanged);
  return () => watcher.close();
}

class RulesWatch {
  readonly #path: string;
  readonly #onMaybeChanged: () => void;
  readonly #rescan: NodeJS.Timeout;
  #watcher: FSWatcher | undefined;
  #settling: NodeJS.Timeout | undefined;
  #seen: string | undefined;
  #closed = false;

  constructor(rulesPath: string, onMaybeChanged: () => void) {
    this.#path = rulesPath;
    this.#onMaybeChanged = onMaybeChanged;
    this.#rescan = setInterval(() => void this.#look(), RESCAN_MS);
    void this.#look();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#rescan);
    clearTimeout(this.#settling);
    this.#watcher?.close();
  }

  async #look(): Promise<void> {
    const folder = await rulesFolder(this.#path);
    const now = await datesIn(folder);
    if (this.#closed) return;
    if (this.#watcher === undefined) this.#open(folder);
    if (this.#seen !== undefined && now !== this.#seen) this.#settle();
    // The folder itself may be another one now, and the watch on the old one is blind.
    if (this.#seen !== undefined && folderId(now) !== folderId(this.#seen)) this.#reopen(folder);
    this.#seen = now;
  }

  #open(folder: string): void {
    try {
      this.#watcher = watch(folder, () => this.#settle());
      this.#watcher.on('error', () => this.#drop());
    } catch {
      this.#drop(); // the rescan goes on, and tries to watch again
    }
  }

  #reopen(folder: string): void {
    this.#drop();
    this.#open(folder);
  }

  #drop(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(this.#onMaybeChanged, SETTLE_MS);
  }
}

/** First line: which folder it is. Then each file that could matter, with what changes when it changes. */
async function datesIn(folder: string): Promise<string> {
  const names = await fs.readdir(folder).catch(() => []);
  const files = names.filter((name) => /\.(ya?ml|pem)$/.test(name)).map((name) => path.join(folder, name));
  return (await Promise.all([folder, ...files].map(dateOf))).join('\n');
}

async function dateOf(file: string): Promise<string> {
  const found = await fs.stat(file).catch(() => undefined);
  if (found === undefined) return `${file} missing`;
  if (found.isDirectory()) return `${file} ${found.dev}:${found.ino}`;
  return `${file} ${found.dev}:${found.ino} ${found.size} ${found.mtimeMs}`;
}

function folderId(dates: string): string {
  return dates.slice(0, dates.indexOf('\n') === -1 ? dates.length : dates.indexOf('\n'));
}
