import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { sourceFiles } from '../../../scripts/layers.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const MAX_HEADER_LINES = 8;

/** Files that may be longer than biome.json says, or hold a longer function, and why. Empty is best. */
const SIZE_EXCEPTIONS: Readonly<Record<string, string>> = {};

const FILES = sourceFiles(ROOT).map((file) => ({ file, text: readFileSync(path.join(ROOT, file), 'utf8') }));

function offenders(isOffender: (text: string, file: string) => boolean): string[] {
  return FILES.filter(({ text, file }) => isOffender(text, file)).map(({ file }) => file);
}

/** Lines of the comment that a file opens with, without its delimiters; 0 when it opens with something else. */
function headerLines(text: string): number {
  const header = /^(?:#!.*\n)?(?:\/\/ biome-ignore-all .*\n)*\/\*\*([\s\S]*?)\*\//.exec(text)?.[1];
  return header === undefined ? 0 : header.trim().split('\n').length;
}

describe('the files of src/', () => {
  it('are there', () => {
    expect(FILES.length).toBeGreaterThan(0);
  });

  it('open with a comment of at most eight lines that says what they are for', () => {
    expect(offenders((text) => headerLines(text) === 0)).toEqual([]);
    expect(offenders((text) => headerLines(text) > MAX_HEADER_LINES)).toEqual([]);
  });

  it('are named for one thing: no index, no types, no utils, no helpers', () => {
    const vague = /(^|\/)(index|types|util|utils|helpers?|common|misc)(\.ts$|\/)/;
    expect(offenders((_, file) => vague.test(file.slice('src/'.length)))).toEqual([]);
  });

  it('are named in lower case with hyphens', () => {
    expect(offenders((_, file) => !/^src\/[a-z0-9-]+\/[a-z0-9-]+\.ts$/.test(file))).toEqual([]);
  });

  it('have no default export and hand nothing on from another file', () => {
    expect(offenders((text) => /^export default\b/m.test(text))).toEqual([]);
    expect(offenders((text) => /^export (\*|(type )?\{[^}]*\}) from /m.test(text))).toEqual([]);
  });

  it('leave no work behind in comments', () => {
    expect(offenders((text) => /\b(TODO|FIXME|XXX|HACK)\b/.test(text))).toEqual([]);
  });

  it('switch the size limits off only where the list above says why', () => {
    const off = offenders((text) => /biome-ignore(-all)? lint\/\w+\/noExcessiveLinesPer/.test(text));
    expect(off).toEqual(Object.keys(SIZE_EXCEPTIONS).sort());
  });
});
