/**
 * Reads what the operator wrote for the rules: one file, or a folder of *.yaml / *.yml with *.pem beside them.
 * Does not read YAML and does not judge certificates: that is policy's. Follows symbolic links, since mounted
 * folders are made of them. What is missing, unreadable or over a cap is a problem, never skipped (threats row 27).
 */

import { constants } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { RuleSource } from '../policy/load.ts';
import type { Problem } from '../policy/problem.ts';

/** policy.md "File": limits. */
const MAX_FILES = 1024;
const MAX_FILE_BYTES = 1024 * 1024;

export interface RulesFiles {
  readonly sources: readonly RuleSource[];
  /** File name without folder -> PEM text. */
  readonly anchors: ReadonlyMap<string, string>;
  /** Not empty: what is here is incomplete and must not be used. */
  readonly problems: readonly Problem[];
}

/**
 * Reads a rule file, or all rule files of a folder in name order. Names that start with a dot (editors' and mounts'
 * own files) and *.test.yaml (cases of `outcall rules test`) are no rule files. Never rejects.
 */
export async function readRulesFiles(rulesPath: string): Promise<RulesFiles> {
  const reader = new RulesReader();
  await reader.readAll(rulesPath);
  return reader;
}

/** The folder to watch for changes of `rulesPath`, and whether a name in it matters. */
export async function rulesFolder(rulesPath: string): Promise<string> {
  const found = await fs.stat(rulesPath).catch(() => undefined);
  return found?.isDirectory() === true ? rulesPath : path.dirname(rulesPath);
}

class RulesReader implements RulesFiles {
  readonly sources: RuleSource[] = [];
  readonly anchors = new Map<string, string>();
  readonly problems: Problem[] = [];

  async readAll(rulesPath: string): Promise<void> {
    try {
      const found = await fs.stat(rulesPath);
      if (found.isDirectory()) await this.#readFolder(rulesPath);
      else await this.#readSingle(rulesPath);
    } catch (error) {
      this.#report(rulesPath, `cannot be read: ${errorText(error)}`, 'name a rule file, or a folder with rule files');
    }
  }

  async #readFolder(folder: string): Promise<void> {
    const names = (await fs.readdir(folder)).sort();
    const rules = names.filter(isRuleFile);
    const pems = names.filter(isAnchorFile);
    if (rules.length === 0) {
      this.#report(
        folder,
        'holds no rule file',
        'put a file that ends in .yaml there; `version: "1"` and `rules: []` allow nothing',
      );
    }
    if (rules.length + pems.length > MAX_FILES) {
      this.#report(
        folder,
        `holds ${rules.length + pems.length} files, more than ${MAX_FILES}`,
        'put more rules into one file',
      );
      return;
    }
    for (const name of rules) await this.#readSource(path.join(folder, name));
    for (const name of pems) await this.#readAnchor(folder, name);
  }

  async #readSingle(file: string): Promise<void> {
    await this.#readSource(file);
    const folder = path.dirname(file);
    // Beside a single file, only the anchors count: the folder may hold anything.
    for (const name of (await fs.readdir(folder)).filter(isAnchorFile).sort().slice(0, MAX_FILES))
      await this.#readAnchor(folder, name);
  }

  async #readSource(file: string): Promise<void> {
    const text = await this.#readText(file);
    if (text !== undefined) this.sources.push({ file, text });
  }

  async #readAnchor(folder: string, name: string): Promise<void> {
    const text = await this.#readText(path.join(folder, name));
    if (text !== undefined) this.anchors.set(name, text);
  }

  async #readText(file: string): Promise<string | undefined> {
    try {
      return await this.#readRegularFile(file);
    } catch (error) {
      this.#report(
        file,
        `cannot be read: ${errorText(error)}`,
        'make it readable for the user that outcalld runs as, or remove it',
      );
      return undefined;
    }
  }

  async #readRegularFile(file: string): Promise<string | undefined> {
    // Non-blocking, or opening a FIFO would wait for a writer for ever.
    const handle = await fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const found = await handle.stat();
      if (!found.isFile())
        return this.#report(file, 'is not a regular file', 'remove it, or name it without .yaml, .yml or .pem');
      if (found.size > MAX_FILE_BYTES)
        return this.#report(
          file,
          `is ${found.size} bytes long, more than ${MAX_FILE_BYTES}`,
          'split it into several files',
        );
      const bytes = await readCapped(handle);
      if (bytes.length > MAX_FILE_BYTES)
        return this.#report(file, `is longer than ${MAX_FILE_BYTES} bytes`, 'split it into several files');
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } finally {
      await handle.close();
    }
  }

  #report(file: string, message: string, fix: string): undefined {
    this.problems.push({ severity: 'error', file, line: 1, column: 1, message, fix });
  }
}

/** Reads one byte past the cap at most: the file may grow after its size was asked for. */
async function readCapped(handle: fs.FileHandle): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(MAX_FILE_BYTES + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
    length += bytesRead;
    if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
  }
}

function isRuleFile(name: string): boolean {
  return /^[^.].*\.ya?ml$/.test(name) && !/\.test\.ya?ml$/.test(name);
}

function isAnchorFile(name: string): boolean {
  return /^[^.].*\.pem$/.test(name);
}

function errorText(error: unknown): string {
  if (error instanceof TypeError) return 'it is not UTF-8 text';
  return error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : String(error);
}
