/**
 * The entry of every process of outcalld. What the supervisor started says so by its role and its channel; anything
 * else is the supervisor. Each role imports its own code only.
 */
import { fileURLToPath } from 'node:url';
import { ROLE_VARIABLE } from './messages.ts';

const role = process.connected ? process.env[ROLE_VARIABLE] : undefined;

if (role === 'worker') {
  const { workerMain } = await import('./worker.ts');
  workerMain();
} else if (role === 'signer') {
  const { signerMain } = await import('./signer.ts');
  await signerMain();
} else {
  const { daemonMain } = await import('./daemon-main.ts');
  // Whatever may still be open (a watch, a timer): the daemon has ended.
  process.exit(await daemonMain(fileURLToPath(import.meta.url)));
}
