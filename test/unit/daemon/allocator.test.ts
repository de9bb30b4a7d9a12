import { describe, expect, it } from 'vitest';
import { quickAllocator } from '../../../src/daemon/allocator.ts';
import { startDaemon } from '../../kit/daemon.ts';
import { childNamed, mappedFilesOf } from './processes.ts';
import { allowPath } from './through-proxy.ts';

const { LD_PRELOAD } = quickAllocator();

describe.skipIf(LD_PRELOAD === undefined && process.env['CI'] === undefined)('mimalloc', () => {
  it('is the allocator of a worker, and the supervisor keeps that of the C library', async () => {
    await using daemon = await startDaemon({ rules: allowPath('/') });
    const mimallocIn = (pid: number): readonly string[] =>
      [...mappedFilesOf(pid)].filter((file) => file.includes('mimalloc'));
    expect(mimallocIn(childNamed(daemon, 'worker-0'))).toHaveLength(1);
    expect(mimallocIn(daemon.process.pid ?? 0)).toEqual([]);
  });
});
