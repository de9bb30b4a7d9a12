/**
 * The CA folder through crashes: a process that changes it is killed before each call that changes the disk, and what the
 * next one finds is one whole CA, the old one or the new one.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CaFolder } from '../../../src/pki/ca-folder.ts';
import { issueCa } from '../../../src/pki/certificate.ts';
import { keyPem } from '../../../src/pki/key-pem.ts';
import { run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';

const CHILD = join(import.meta.dirname, 'ca-folder-child.ts');
const NOW = Date.now();
/** Far above the calls of any change: a loop that never ends is a fault of the test. */
const MAX_CALLS = 60;

async function bring(folder: CaFolder): Promise<void> {
  const { pem, key } = await issueCa('ecdsa', NOW);
  folder.writeNext(pem, keyPem(key));
}

/** A folder with a CA that signs, one that is next, and one that signed before. */
async function fullFolder(path: string): Promise<CaFolder> {
  const folder = new CaFolder(path);
  for (let i = 0; i < 2; i++) {
    await bring(folder);
    folder.promote();
  }
  await bring(folder);
  return folder;
}

function names(path: string): readonly string[] {
  return readdirSync(path).sort();
}

describe('a change of the CA folder that is cut short', () => {
  it.each([
    ['promote', ['ca.crt', 'ca.key', 'previous.crt']],
    ['drop-all', []],
    ['drop-next', ['ca.crt', 'ca.key', 'previous.crt']],
    ['write', ['ca.crt', 'ca.key', 'next.crt', 'next.key', 'previous.crt']],
  ] as const)(
    '%s: leaves one whole CA before each step, and the next start ends it',
    async (change, whole) => {
      using kit = new TempFolder();
      const { pem, key } = await issueCa('ecdsa', NOW);
      writeFileSync(join(kit.path, 'new.crt'), pem);
      writeFileSync(join(kit.path, 'new.key'), keyPem(key));
      const outcomes = new Set<string>();
      for (let calls = 1; calls <= MAX_CALLS; calls++) {
        using folder = new TempFolder();
        const cas = await fullFolder(folder.path);
        const before = cas.load(NOW).cas;
        const { code } = await run(process.execPath, [CHILD, change, folder.path, kit.path, String(calls)]);
        if (code !== null) break; // it was done before that many calls
        cas.recover();
        const { cas: after, issuer } = cas.load(NOW);
        const signs = [before.current, before.next].find((ca) => ca?.certPem === after.current?.certPem);
        expect([issuer === undefined, signs === undefined]).toEqual(
          change === 'drop-all' && issuer === undefined ? [true, true] : [false, false],
        );
        expect(names(folder.path).filter((name) => !/^(ca|next)\.(crt|key)$|^previous\.crt$/.test(name))).toEqual([]);
        outcomes.add(names(folder.path).join(' '));
        expect(calls).toBeLessThan(MAX_CALLS);
      }
      expect(outcomes.size).toBeGreaterThan(0);
      using last = new TempFolder();
      await fullFolder(last.path);
      expect((await run(process.execPath, [CHILD, change, last.path, kit.path, '0'])).code).toBe(0);
      expect(names(last.path)).toEqual(whole);
    },
    60_000,
  );

  it('keeps no old key: what signed before is a certificate alone', async () => {
    using folder = new TempFolder();
    const cas = await fullFolder(folder.path);
    const key = readFileSync(join(folder.path, 'ca.key'));
    cas.promote();
    const left = names(folder.path).map((name) => readFileSync(join(folder.path, name)));
    expect(left.filter((content) => content.equals(key))).toEqual([]);
    expect(cas.load(NOW).cas).toMatchObject({ next: undefined, previous: { subject: expect.any(String) } });
  });
});
