import { expect, it } from 'vitest';
import { systemClock } from '../../../src/domain/clock.ts';
import { OriginSession } from '../../../src/proxy/h2-upstream.ts';
import { frame } from '../../kit/h2-wire.ts';
import { memorySockets } from '../../kit/memory-socket.ts';

const MAX_STREAMS = 128;

it('a session without room keeps those that still wait, in their order, and few of those that do not', async () => {
  const [near, far] = memorySockets();
  const session = new OriginSession({ socket: far, address: '192.0.2.1' } as never, systemClock);
  near.write(frame('settings', 0, 0, Buffer.from([0, 3, 0, 0, 0, 0]))); // SETTINGS_MAX_CONCURRENT_STREAMS
  await session.ready;
  const called: number[] = [];
  const live = [0, 500, 999];
  for (let i = 0; i < 1_000; i++) session.awaitRoom({ awaitsSession: live.includes(i) }, () => called.push(i));
  session.onLeaving();
  expect(called.filter((i) => live.includes(i))).toEqual(live);
  expect(called.length).toBeLessThanOrEqual(MAX_STREAMS + 1);
  session.destroy();
});
