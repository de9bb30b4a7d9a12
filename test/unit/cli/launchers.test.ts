import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';

const BIN = path.join(import.meta.dirname, '../../../bin');
/** What stands in for the built program: says how it was started. */
const PROGRAM = `console.log(JSON.stringify({ node: process.execPath, args: process.argv.slice(2),
  core: require('node:fs').readFileSync('/proc/self/limits', 'utf8').match(/Max core file size +(\\S+)/)[1] }));`;

/** A checkout with the launcher, and with the program and node where `built` and `node` say so. */
function checkout(
  folder: TempFolder,
  command: string,
  parts: { readonly built: boolean; readonly node: boolean },
): string {
  const launcher = folder.write(`repo/bin/${command}`, fs.readFileSync(path.join(BIN, command)), 0o755);
  if (parts.built) folder.write(`repo/dist/${command}.js`, PROGRAM);
  if (parts.node) {
    fs.mkdirSync(path.join(folder.path, 'repo/node_modules/.bin'), { recursive: true });
    fs.symlinkSync(process.execPath, path.join(folder.path, 'repo/node_modules/.bin/node'));
  }
  return launcher;
}

describe.each(['outcall', 'outcalld'])('bin/%s', (command) => {
  it('finds its checkout through links, absolute and relative, and passes arguments as they are', async () => {
    using folder = new TempFolder();
    const launcher = checkout(folder, command, { built: true, node: true });
    fs.mkdirSync(path.join(folder.path, 'usr'));
    fs.symlinkSync(launcher, path.join(folder.path, 'usr/absolute'));
    fs.symlinkSync('./absolute', path.join(folder.path, 'usr/relative'));
    for (const file of [launcher, path.join(folder.path, 'usr/absolute'), path.join(folder.path, 'usr/relative')]) {
      const { code, stdout } = await run(file, ['a b', '*', ''], { cwd: '/' });
      expect([code, JSON.parse(stdout)]).toMatchObject([0, { args: ['a b', '*', ''] }]);
    }
  });

  it('uses the node of its packages before the one in the PATH', async () => {
    using folder = new TempFolder();
    const launcher = checkout(folder, command, { built: true, node: true });
    const other = folder.write('path/node', '#!/bin/sh\necho 18\n', 0o755);
    const env = { PATH: `${path.dirname(other)}:${process.env['PATH']}` };
    expect(JSON.parse((await run(launcher, [], { env })).stdout)).toMatchObject({
      node: fs.realpathSync(process.execPath),
    });
  });

  it('refuses an older node, and says what to run', async () => {
    using folder = new TempFolder();
    const launcher = checkout(folder, command, { built: true, node: false });
    const other = folder.write('path/node', '#!/bin/sh\necho 20\n', 0o755);
    const env = { PATH: `${path.dirname(other)}:/usr/bin:/bin` };
    expect(await run(launcher, [], { env })).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/Node 24 or newer.*is 20; run npm ci/),
    });
  });

  it('says how to build what is not built', async () => {
    using folder = new TempFolder();
    const launcher = checkout(folder, command, { built: false, node: true });
    expect(await run(launcher, [])).toMatchObject({ code: 1, stderr: expect.stringContaining('npm run build') });
  });
});

describe('bin/outcalld', () => {
  it('switches core dumps off, which the command of the operator does not need', async () => {
    using folder = new TempFolder();
    const launcher = checkout(folder, 'outcalld', { built: true, node: true });
    expect(JSON.parse((await run(launcher, [])).stdout)).toMatchObject({ core: '0' });
  });
});
