/** Pages that trace a text line by line: rows `| id | what | where | shown by |`, held to the tree. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { brokenReference, ROOT, referencesIn } from './test-titles.ts';

export interface Row {
  readonly id: string;
  readonly where: string;
  readonly shown: string;
}

/** The rows of the page, in order. */
export function rowsOf(page: string): Row[] {
  return page
    .split('\n')
    .filter((line) => /^\| [A-Z]{2}-\d{2,3} \|/.test(line))
    .map((line) => {
      const [, id = '', , where = '', shown = ''] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
      return { id, where, shown };
    });
}

/** What is wrong with a row, or undefined. */
export function problemOf({ id, where, shown }: Row): string | undefined {
  const otherwise = /decided otherwise.*\]\((adr\/[^)]+)\)/.exec(where)?.[1];
  if (otherwise !== undefined) {
    return existsSync(path.join(ROOT, 'docs', otherwise)) ? undefined : `${id}: docs/${otherwise} does not exist`;
  }
  const files = [...where.matchAll(/`([\w./-]+)`/g)].map(([, file]) => file as string);
  if (files.length === 0) return `${id}: names no file`;
  const missing = files.filter((file) => !existsSync(path.join(ROOT, file)));
  if (missing.length > 0) return `${id}: ${missing.join(', ')} does not exist`;
  const references = referencesIn(shown);
  if (references.length === 0) return `${id}: names no test`;
  const broken = references.map(brokenReference).filter(Boolean);
  return broken.length === 0 ? undefined : `${id}: ${broken.join('; ')}`;
}
