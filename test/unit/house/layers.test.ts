import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { layerProblems } from '../../../scripts/layers.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');

/** A small tree under the project's own dependency rules; keys are paths below src/. */
function plantTree(files: Readonly<Record<string, string>>): { root: string } & Disposable {
  const root = mkdtempSync(path.join(tmpdir(), 'outcall-layers-'));
  for (const name of ['.dependency-cruiser.mjs', 'package.json', 'tsconfig.json']) {
    cpSync(path.join(ROOT, name), path.join(root, name));
  }
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(root, 'node_modules'));
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(root, 'src', name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return { root, [Symbol.dispose]: () => rmSync(root, { recursive: true }) };
}

const DOMAIN = { 'domain/host.ts': 'export type Host = string;\n' };

describe('the layers of src/', () => {
  it('hold for every file of src/', async () => {
    expect(await layerProblems(ROOT)).toEqual([]);
  });

  it('let a folder import from a lower layer and from itself', async () => {
    using tree = plantTree({
      ...DOMAIN,
      'wire/a.ts': "import type { Host } from '../domain/host.ts';\nexport const a: Host = '';\n",
      'wire/b.ts': "import { a } from './a.ts';\nexport const b = a;\n",
    });
    expect(await layerProblems(tree.root)).toEqual([]);
  });

  it('let two files know the types of each other, but not run each other', async () => {
    const one = "import { type Two, two } from './two.ts';\nexport type One = Two;\nexport const one = two;\n";
    const two = "import type { One } from './one.ts';\nexport type Two = One | 2;\nexport const two = 2;\n";
    const round = "import { one } from './one.ts';\nexport type Two = 2;\nexport const two = () => one;\n";
    using types = plantTree({ 'wire/one.ts': one, 'wire/two.ts': two });
    expect(await layerProblems(types.root)).toEqual([]);
    using values = plantTree({ 'wire/one.ts': one, 'wire/two.ts': round });
    expect(await layerProblems(values.root)).toEqual(expect.arrayContaining([expect.stringContaining('no-circular')]));
  });

  it.each([
    ['a higher layer', 'domain/up.ts', "import { a } from '../wire/a.ts';\nexport const up = a;\n", 'layer-domain'],
    ['a sibling', 'policy/side.ts', "import { a } from '../wire/a.ts';\nexport const side = a;\n", 'layer-policy'],
    [
      'types of a sibling',
      'policy/t.ts',
      "import type { A } from '../wire/a.ts';\nexport type T = A;\n",
      'layer-policy',
    ],
    [
      'a door from the CLI',
      'cli/door.ts',
      "import { door } from '../proxy/door.ts';\nexport const d = door;\n",
      'layer-cli',
    ],
    [
      "another owner's package",
      'wire/y.ts',
      "import { parse } from 'yaml';\nexport const y = parse;\n",
      'owner-of-yaml',
    ],
    [
      'what drives the engine from the daemon',
      'daemon/e.ts',
      "import { engine } from '../docker/engine.ts';\nexport const e = engine;\n",
      'only-cli-drives-docker',
    ],
    ['a package without owner', 'wire/f.ts', "import fc from 'fast-check';\nexport const f = fc;\n", 'unowned-package'],
  ])('refuse an import of %s', async (_what, file, text, rule) => {
    using tree = plantTree({
      ...DOMAIN,
      'wire/a.ts': 'export type A = 1;\nexport const a: A = 1;\n',
      'proxy/door.ts': 'export const door = 1;\n',
      'docker/engine.ts': 'export const engine = 1;\n',
      [file]: text,
    });
    const problems = await layerProblems(tree.root);
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([rule]);
    expect(problems[0]).toContain(`src/${file}`);
  });
});
