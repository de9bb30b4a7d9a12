/** Before the first file: the engine, the images and the internet are there (scripts/lab/up). After the last: they end. */
import { ENGINE_CAN_RUN, lab } from './lab.ts';

/** From nothing on a busy machine of two cores. */
const FROM_NOTHING_MS = 600_000;
const DOWN_MS = 120_000;

export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (!ENGINE_CAN_RUN) return undefined;
  await lab('up', [], FROM_NOTHING_MS);
  return async () => lab('engine', ['down'], DOWN_MS);
}
