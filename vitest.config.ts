/**
 * How the suite runs. Every test file gets a process of its own (signals, servers and environment stay apart);
 * coverage is V8's and counts src/ alone. Benchmarks are no tests and live outside these patterns.
 */
import { defineConfig } from 'vitest/config';

/** A single test may start real clients (git, Java) on a busy machine of two cores. */
const TEST_TIMEOUT_MS = 30_000;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // test/compose wants a Docker Engine, and is a run of its own: vitest.compose.config.ts.
    exclude: ['test/bench/**', 'test/compose/**', '**/node_modules/**', '**/dist/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: TEST_TIMEOUT_MS,
    hookTimeout: TEST_TIMEOUT_MS,
    allowOnly: false,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['text-summary', 'json-summary', 'html'],
      reportsDirectory: 'coverage',
    },
  },
});
