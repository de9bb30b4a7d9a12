/**
 * How many bytes a relay in the middle holds, by the kernel's own counts of its TCP connections (`ss`, iproute2): what it has
 * read from one side less what it has written to the other. What waits in the kernel's buffers is on neither side of that.
 */
import { run } from './run.ts';

export interface Held {
  /** Towards the origin. */
  readonly up: number;
  /** Towards the agent. */
  readonly down: number;
  /** All that was read from either side, by which a standstill is known. */
  readonly read: number;
}

/** So many readings without a change, each of some milliseconds in which whatever can move does, are a standstill. */
const STILL_READINGS = 15;

/** Held on all connections that the relay has accepted on `doorPort` and opened to `originPort`. */
export async function heldBytes(doorPort: number, originPort: number): Promise<Held> {
  const ours = `( sport = :${doorPort} or dport = :${originPort} )`;
  const { stdout } = await run('ss', ['-tinHO', 'state', 'connected', ours]);
  const sides = { agents: { read: 0, written: 0 }, origins: { read: 0, written: 0 } };
  for (const line of stdout.split('\n').filter((text) => text !== '')) {
    // State, Recv-Q, Send-Q, local address, peer. Of what was written, bytes_acked has arrived and Send-Q has not.
    const [, received, sent, local] = /^\S+\s+(\d+)\s+(\d+)\s+\S+:(\d+)\s/.exec(line) ?? [];
    const side = sides[Number(local) === doorPort ? 'agents' : 'origins'];
    side.read += figure(line, 'bytes_received') - Number(received);
    side.written += figure(line, 'bytes_acked') + Number(sent);
  }
  const { agents, origins } = sides;
  return { up: agents.read - origins.written, down: origins.read - agents.written, read: agents.read + origins.read };
}

/** The same once nothing moves any more. */
export async function heldAtStandstill(doorPort: number, originPort: number): Promise<Held> {
  let last = await heldBytes(doorPort, originPort);
  for (let still = 0; still < STILL_READINGS; ) {
    const now = await heldBytes(doorPort, originPort);
    still = now.read === last.read && now.up === last.up && now.down === last.down ? still + 1 : 0;
    last = now;
  }
  return last;
}

function figure(line: string, name: string): number {
  return Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0);
}
