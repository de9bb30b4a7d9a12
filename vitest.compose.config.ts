/**
 * The tests on a real Docker Engine, as a project of their own: one engine, one appliance at a time, so one file after
 * the other. The engine and the images are made once, before the first file.
 */
import { defineConfig } from 'vitest/config';

/** Containers start and stop in about a second; on a busy machine, ten. */
const TEST_TIMEOUT_MS = 120_000;

export default defineConfig({
  // Beside the packages, and not in a folder of that name below test/.
  cacheDir: `${import.meta.dirname}/node_modules/.vite-compose`,
  test: {
    name: 'compose',
    root: `${import.meta.dirname}/test/compose`,
    include: ['**/*.test.ts'],
    globalSetup: ['kit/global-setup.ts'],
    pool: 'forks',
    fileParallelism: false,
    // As many agents as are attached together: most of their time is spent waiting for the engine.
    maxConcurrency: 6,
    testTimeout: TEST_TIMEOUT_MS,
    hookTimeout: TEST_TIMEOUT_MS,
    allowOnly: false,
  },
});
