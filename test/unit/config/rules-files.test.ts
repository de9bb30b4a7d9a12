import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readRulesFiles } from '../../../src/config/rules-files.ts';
import { TempFolder } from '../../kit/temp.ts';

const RULES = 'version: "1"\nrules: []\n';
const MIB = 1024 * 1024;

function names(files: Awaited<ReturnType<typeof readRulesFiles>>): string[] {
  return files.sources.map(({ file }) => path.basename(file));
}

describe('readRulesFiles', () => {
  it('reads the yaml files of a folder in name order, with the pem files beside them', async () => {
    using folder = new TempFolder();
    for (const name of ['20-b.yml', '10-a.yaml', '10-a.test.yaml', 'notes.md', '.hidden.yaml', 'x.yaml~'])
      folder.write(name, RULES);
    folder.write('corp.pem', 'PEM');
    const files = await readRulesFiles(folder.path);
    expect(names(files)).toEqual(['10-a.yaml', '20-b.yml']);
    expect(files.sources[0]).toEqual({ file: path.join(folder.path, '10-a.yaml'), text: RULES });
    expect([...files.anchors]).toEqual([['corp.pem', 'PEM']]);
    expect(files.problems).toEqual([]);
  });

  it('reads a single file, whatever it is called, with the anchors beside it and no other rules', async () => {
    using folder = new TempFolder();
    const file = folder.write('policy.txt', RULES);
    folder.write('other.yaml', RULES);
    folder.write('corp.pem', 'PEM');
    const files = await readRulesFiles(file);
    expect(names(files)).toEqual(['policy.txt']);
    expect([...files.anchors.keys()]).toEqual(['corp.pem']);
  });

  it('follows symbolic links, as a mounted ConfigMap is made of them', async () => {
    using folder = new TempFolder();
    folder.write('..2026_1/rules.yaml', RULES);
    fs.symlinkSync('..2026_1', path.join(folder.path, '..data'));
    fs.symlinkSync('..data/rules.yaml', path.join(folder.path, 'rules.yaml'));
    const files = await readRulesFiles(folder.path);
    expect(names(files)).toEqual(['rules.yaml']);
    expect(files.problems).toEqual([]);
  });

  const into = (folder: TempFolder, name: string) => path.join(folder.path, name);

  it.each([
    ['a path that is not there', (f: TempFolder) => fs.rmdirSync(f.path), /cannot be read: ENOENT/],
    ['an empty folder', () => undefined, /holds no rule file/],
    ['a dangling link', (f: TempFolder) => fs.symlinkSync('/nowhere', into(f, 'a.yaml')), /cannot be read: ENOENT/],
    ['a folder called like a file', (f: TempFolder) => fs.mkdirSync(into(f, 'a.yaml')), /not a regular file/],
    ['a FIFO, unwaited for', (f: TempFolder) => execFileSync('mkfifo', [into(f, 'a.yaml')]), /not a regular file/],
    [
      'a file that is too long',
      (f: TempFolder) => f.write('a.yaml', Buffer.alloc(MIB + 1, ' ')),
      /1048577 bytes long, more/,
    ],
    ['a file that is not UTF-8', (f: TempFolder) => f.write('a.yaml', Buffer.from([0x61, 0xff])), /not UTF-8/],
  ])('reports %s as a problem with its file', async (_, spoil, message) => {
    using folder = new TempFolder();
    spoil(folder);
    const { problems } = await readRulesFiles(folder.path);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({
      severity: 'error',
      line: 1,
      column: 1,
      message: expect.stringMatching(message),
    });
    expect(problems[0]?.file.startsWith(folder.path)).toBe(true);
    expect(problems[0]?.fix).toBeTruthy();
  });

  it('reports an anchor that is too long, with the rules beside it read', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', RULES);
    const anchor = folder.write('a.pem', Buffer.alloc(MIB + 1));
    const { sources, problems } = await readRulesFiles(folder.path);
    expect(problems).toMatchObject([{ file: anchor, message: expect.stringContaining('more than 1048576') }]);
    expect(sources).toHaveLength(1);
  });

  it('takes a file of exactly the largest size', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', Buffer.alloc(MIB, ' '));
    const { sources, problems } = await readRulesFiles(folder.path);
    expect(sources[0]?.text).toHaveLength(MIB);
    expect(problems).toEqual([]);
  });

  it('takes 1,024 files and refuses 1,025, anchors counted', async () => {
    using folder = new TempFolder();
    for (let i = 0; i < 1_023; i++) folder.write(`r${i}.yaml`, RULES);
    folder.write('a.pem', 'PEM');
    expect((await readRulesFiles(folder.path)).problems).toEqual([]);
    folder.write('b.pem', 'PEM');
    expect((await readRulesFiles(folder.path)).problems).toMatchObject([
      { message: 'holds 1025 files, more than 1024' },
    ]);
  });

  it('reports all files that cannot be read, and still reads the others', async () => {
    using folder = new TempFolder();
    fs.symlinkSync('/nowhere', path.join(folder.path, 'a.yaml'));
    folder.write('b.yaml', RULES);
    folder.write('c.yaml', Buffer.from([0xff]));
    const { sources, problems } = await readRulesFiles(folder.path);
    expect(problems.map(({ file }) => path.basename(file))).toEqual(['a.yaml', 'c.yaml']);
    expect(sources).toHaveLength(1);
  });
});
