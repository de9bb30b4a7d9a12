/** Changes a CA folder and is killed, by itself, before the given call of those that change the disk; 0 is never. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';

const [change, path, kit, killAt] = process.argv.slice(2) as [string, string, string, string];
const CHANGING = ['renameSync', 'unlinkSync', 'linkSync', 'writeFileSync'] as const;
let calls = 0;
for (const name of CHANGING) {
  const real = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (++calls === Number(killAt)) process.kill(process.pid, 'SIGKILL');
      return real(...args);
    },
  });
}
syncBuiltinESMExports();

const { CaFolder } = await import('../../../src/pki/ca-folder.ts');
const folder = new CaFolder(path);
const read = (name: string) => fs.readFileSync(join(kit, name));
if (change === 'promote') folder.promote();
else if (change === 'write') folder.writeNext(read('new.crt').toString(), read('new.key'));
else folder.drop(change === 'drop-all' ? 'all' : 'next');
