/**
 * Finds the files of cases that stand beside rules: rules.test.yaml for rules.yaml, every *.test.yaml for a folder.
 * Reads them as text; what they say is policy's.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { RuleSource } from '../policy/load.ts';
import type { Problem } from '../policy/problem.ts';

export interface CaseFiles {
  /** What the cases are about: the rule file or folder. */
  readonly rulesPath: string;
  readonly sources: readonly RuleSource[];
  /** Not empty: what is here is incomplete. */
  readonly problems: readonly Problem[];
}

const CASE_FILE = /\.test(\.ya?ml)$/;

/** `given`: a rule file, a folder, or a file of cases. Never rejects. */
export async function readCaseFiles(given: string): Promise<CaseFiles> {
  const rulesPath = given.replace(CASE_FILE, '$1');
  const files = await caseFilesOf(rulesPath);
  const read = await Promise.all(files.map(readSource));
  const sources = read.filter((one) => 'text' in one);
  const problems = read.filter((one) => 'message' in one);
  return { rulesPath, sources, problems };
}

async function caseFilesOf(rulesPath: string): Promise<readonly string[]> {
  const found = await fs.stat(rulesPath).catch(() => undefined);
  if (found?.isDirectory() !== true) return [rulesPath.replace(/(\.ya?ml)$/, '.test$1')];
  const names = await fs.readdir(rulesPath).catch(() => []);
  const files = names.filter((name) => CASE_FILE.test(name) && !name.startsWith('.')).sort();
  return files.length === 0
    ? [path.join(rulesPath, 'rules.test.yaml')]
    : files.map((name) => path.join(rulesPath, name));
}

async function readSource(file: string): Promise<RuleSource | Problem> {
  try {
    return { file, text: await fs.readFile(file, 'utf8') };
  } catch (error) {
    const message = `cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`;
    return { severity: 'error', file, line: 1, column: 1, message, fix: 'put cases there; see docs/rule-tools.md' };
  }
}
