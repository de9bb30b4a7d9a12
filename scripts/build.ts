/**
 * Bundles the two commands to dist/: outcalld.js, outcall.js, and the chunks that they share or import only when needed
 * (interception without a CA is never loaded). Packages are bundled too, so that dist/ and node are all it takes to run.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { build, type Metafile } from 'esbuild';

const ROOT = path.resolve(import.meta.dirname, '..');
const OUT = path.join(ROOT, 'dist');
/** What bundled CommonJS packages take for granted. */
const COMMONJS_NAMES = `import { createRequire as __createRequire } from 'node:module';
const require = __createRequire(import.meta.url);
const __dirname = import.meta.dirname;`;

/** Resolves to what was made of what, as esbuild tells it. */
export async function buildInto(folder: string): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: { outcalld: 'src/daemon/main.ts', outcall: 'src/cli/main.ts' },
    outdir: folder,
    bundle: true,
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    format: 'esm',
    platform: 'node',
    target: 'node24',
    sourcemap: false,
    legalComments: 'external',
    metafile: true,
    // Optional native parts of ssh2, for engines behind ssh://: it does without them.
    external: ['*.node'],
    banner: { js: COMMONJS_NAMES },
    logLevel: 'warning',
  });
  return metafile;
}

if (import.meta.main) {
  rmSync(OUT, { recursive: true, force: true });
  await buildInto(OUT);
}
