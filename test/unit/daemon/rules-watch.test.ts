import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { watchRules } from '../../../src/daemon/rules-watch.ts';
import { Seen } from '../../kit/seen.ts';
import { TempFolder } from '../../kit/temp.ts';

/** The watch opens after a look at the folder: a change made at once may come before it, so changes go on until seen. */
async function seesChanges(watched: string, change: (round: number) => void): Promise<void> {
  const told = new Seen<number>('call of the watcher');
  let round = 0;
  const unwatch = watchRules(watched, () => told.push(round));
  try {
    for (; told.count === 0 && round < 40; round++) {
      change(round);
      await told.atLeast(1, 250).catch(() => undefined);
    }
    expect(told.count).toBeGreaterThan(0);
  } finally {
    unwatch();
  }
}

describe('watchRules', () => {
  it('tells of a file written, added, or renamed over another, as editors and atomic writers do', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', '1');
    await seesChanges(folder.path, (round) => folder.write('a.yaml', `x${round}`));
    await seesChanges(folder.path, (round) => folder.write(`b${round}.yaml`, 'x'));
    await seesChanges(folder.path, (round) => {
      const temporary = folder.write('.tmp', `x${round}`);
      fs.renameSync(temporary, path.join(folder.path, 'a.yaml'));
    });
  });

  it('tells of a change to a single file that is replaced by rename, again and again', async () => {
    using folder = new TempFolder();
    const file = folder.write('a.yaml', '1');
    for (let i = 0; i < 2; i++) {
      await seesChanges(file, (round) => fs.renameSync(folder.write('.tmp', `x${i}${round}`), file));
    }
  });

  it('tells of a swap of the links that a mounted ConfigMap is made of', async () => {
    using folder = new TempFolder();
    folder.write('rules/..1/a.yaml', 'one');
    const rules = path.join(folder.path, 'rules');
    fs.symlinkSync('..1', path.join(rules, '..data'));
    fs.symlinkSync('..data/a.yaml', path.join(rules, 'a.yaml'));
    await seesChanges(rules, (round) => {
      folder.write(`rules/..v${round}/a.yaml`, `v${round}`);
      fs.symlinkSync(`..v${round}`, path.join(rules, '..data_tmp'));
      fs.renameSync(path.join(rules, '..data_tmp'), path.join(rules, '..data'));
    });
  });

  it('tells of a change behind a link that leads out of the folder, where no watch is', async () => {
    using folder = new TempFolder();
    const outside = folder.write('outside/a.yaml', 'one');
    fs.mkdirSync(path.join(folder.path, 'rules'));
    fs.symlinkSync(outside, path.join(folder.path, 'rules/a.yaml'));
    await seesChanges(path.join(folder.path, 'rules'), (round) =>
      folder.write('outside/a.yaml', `longer${'x'.repeat(round)}`),
    );
  });

  it('goes on in a folder that was replaced by another of the same name', async () => {
    using folder = new TempFolder();
    folder.write('rules/a.yaml', 'one');
    const rules = path.join(folder.path, 'rules');
    await seesChanges(rules, (round) => {
      folder.write(`new${round}/a.yaml`, `v${round}`);
      fs.renameSync(rules, path.join(folder.path, `old${round}`));
      fs.renameSync(path.join(folder.path, `new${round}`), rules);
    });
  });
});
