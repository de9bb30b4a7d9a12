import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildInto } from '../../../scripts/build.ts';
import { run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';

type Metafile = Awaited<ReturnType<typeof buildInto>>;

let folder: TempFolder;
let metafile: Metafile;

beforeAll(async () => {
  folder = new TempFolder();
  metafile = await buildInto(folder.path);
});
afterAll(() => folder[Symbol.dispose]());

/** Every source that a command may load, in its own file or in a chunk that it imports, at once or later. */
function sourcesOf(command: string): readonly string[] {
  const outputs = new Map(Object.entries(metafile.outputs));
  const [entry] = [...outputs.keys()].filter((file) => path.basename(file) === command);
  const reached = new Set([entry as string]);
  for (const file of reached)
    for (const { path: next } of outputs.get(file)?.imports ?? []) if (outputs.has(next)) reached.add(next);
  return [...reached].flatMap((file) => Object.keys(outputs.get(file)?.inputs ?? {}));
}

describe('the bundles', () => {
  it('of the daemon hold nothing that can drive the engine, at once or later, and that of the operator does', () => {
    const drives = (source: string) => /dockerode|docker-modem|src\/docker\//.test(source);
    expect(sourcesOf('outcalld.js').filter(drives)).toEqual([]);
    expect(sourcesOf('outcalld.js')).toContain('src/daemon/supervisor.ts');
    expect(sourcesOf('outcall.js').filter(drives)).toContain('node_modules/dockerode/lib/docker.js');
  });

  it('run where there are no packages, those parts too that are loaded when they are needed', async () => {
    const env = { DOCKER_HOST: 'unix:///nonexistent/docker.sock' };
    const { code, stderr } = await run(process.execPath, [path.join(folder.path, 'outcall.js'), 'ps'], {
      env,
      cwd: '/',
    });
    expect([code, stderr]).toEqual([1, expect.stringContaining('no Docker Engine answers (ENOENT)')]);
  });
});
