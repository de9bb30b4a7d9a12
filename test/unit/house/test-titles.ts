/** The titles of the tests in a file, as they are written there, so that documents can name tests and be held to it. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.resolve(import.meta.dirname, '../../..');

/** `test/x/y.test.ts` and a title in double quotes: how documents name a test. A quote inside a title is written \". */
const REFERENCE = /`(test\/[^`]+\.test\.ts)`\s+"((?:[^"\\]|\\.)+)"/g;
const TEST_CALL =
  /\b(?:it|test)(?:\.\w+)*(?:<[^'"`]*?>(?=\())?(?:\([^'"`]*?\)|\(!?\w+\('\w+'\)\)|\(\s*\[[\s\S]*?\](?:\s*as const)?,?\s*\))?\(\s*(['"`])((?:(?!\1)[^\\]|\\.)*)\1/g;

export interface TestReference {
  readonly file: string;
  readonly title: string;
}

/** Every test that a piece of Markdown names, in order. */
export function referencesIn(markdown: string): TestReference[] {
  return [...markdown.matchAll(REFERENCE)].map(([, file, title]) => ({
    file: file as string,
    title: unquoted(title as string),
  }));
}

/** What is wrong with a reference, or undefined: the file must exist and hold a test of exactly that title. */
export function brokenReference({ file, title }: TestReference): string | undefined {
  if (!existsSync(path.join(ROOT, file))) return `${file} does not exist`;
  if (titlesOf(readFileSync(path.join(ROOT, file), 'utf8')).includes(title)) return undefined;
  return `${file} holds no test "${title}"`;
}

/** Titles of the `it` and `test` calls of a test file's text. */
export function titlesOf(text: string): string[] {
  return [...text.matchAll(TEST_CALL)].map(([, , title]) => unquoted(title as string));
}

function unquoted(text: string): string {
  return text.replaceAll(/\\(.)/g, '$1');
}
