/**
 * Before the first file: the engine, the images and the internet are there (scripts/lab/up). After the last they end, and
 * so they do when this process ends in any other way, killed or not.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { removeEverything } from './appliance.ts';
import { ENGINE_CAN_RUN, LAB_VARIABLES, lab, ROOT } from './lab.ts';

/** From nothing on a busy machine of two cores. */
const FROM_NOTHING_MS = 600_000;

export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (!ENGINE_CAN_RUN) return undefined;
  const end = endWithUs();
  try {
    await lab('up', [], FROM_NOTHING_MS);
    await removeEverything();
  } catch (error) {
    await end();
    throw error;
  }
  return async () => {
    try {
      await removeEverything();
    } finally {
      await end();
    }
  };
}

/** A process that waits until its input ends, with ours or as we do, and then takes the lab down. */
function endWithUs(): () => Promise<void> {
  const waiting = spawn('sh', ['-c', 'cat >/dev/null; exec scripts/lab/engine down'], {
    cwd: ROOT,
    env: { ...process.env, ...LAB_VARIABLES },
    detached: true,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  return async () => {
    waiting.stdin.end();
    await once(waiting, 'exit');
  };
}
