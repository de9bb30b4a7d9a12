/**
 * What makes a process fit to hold the CA key: how node is started for it, and what it does to itself first.
 * Upholds row 35 (swap, core dump, debugger). Does not lower privileges: that is the container's doing.
 */
import { secureHeapUsed } from 'node:crypto';
import { writeFileSync } from 'node:fs';

/**
 * Options of `node` for the signer. The secure heap is memory in which OpenSSL keeps private keys: locked (no swap), left out
 * of core dumps, overwritten when freed; a key takes about 2 KB of it, and 64 KiB is what a process may lock by default.
 * SIGUSR1 must not open a debugger. With gc exposed, stopping collects the key at once.
 */
export const SIGNER_EXEC_ARGV: readonly string[] = ['--secure-heap=65536', '--disable-sigusr1', '--expose-gc'];

const COREDUMP_FILTER = '/proc/self/coredump_filter';

/** Call before the key is loaded. Returns what could not be had, for the log; empty when all is as it should be. */
export function hardenSignerProcess(): readonly string[] {
  const lacking: string[] = [];
  if (secureHeapUsed().total === 0) lacking.push('no secure heap: the CA key may reach swap');
  if (globalThis.gc === undefined) lacking.push('gc is not exposed: the CA key is cleared at exit, not before');
  try {
    // core(5): no mapping of this process goes into a core dump.
    writeFileSync(COREDUMP_FILTER, '0');
  } catch (error) {
    lacking.push(
      `${COREDUMP_FILTER} cannot be set (${(error as NodeJS.ErrnoException).code}): a core dump may hold the CA key`,
    );
  }
  return lacking;
}
