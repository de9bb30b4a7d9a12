/**
 * Property 38: what an agent has open to an origin, or learnt from one, serves no other agent: neither a connection nor a TLS
 * session, through any door. The origin numbers its connections and says which handshakes were resumed.
 */
import { describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { DOORS, startDoors } from './doors.ts';

const RULES = rulesFile(
  '{ id: api, condition: \'http.host == "api.test"\', action: allow, egress: { mode: intercept } }',
);
const AGENTS = ['127.0.0.2', '127.0.0.3', '127.0.0.4'];
const TURNS = 3;

describe.each(DOORS)('through %s', (door) => {
  it('agents that take turns never meet on one connection to an origin', async () => {
    await using doors = await startDoors({ rules: RULES });
    for (let turn = 0; turn < TURNS; turn++) {
      for (const localAddress of AGENTS) {
        expect((await doors.ask(door, { path: `/${localAddress}`, localAddress }))[0]).toBe(200);
      }
    }
    const agentsOn = new Map<number, Set<string>>();
    for (const { url, connection } of doors.origins[door].requests.all) {
      agentsOn.set(connection, (agentsOn.get(connection) ?? new Set()).add(url));
    }
    expect([...agentsOn.values()].map((agents) => agents.size)).toEqual([...agentsOn.keys()].map(() => 1));
    expect(doors.origins[door].requests.count).toBe(AGENTS.length * TURNS);
  });
});

describe('a TLS session with an origin', () => {
  it('is resumed for its own agent, and never for another', async () => {
    await using doors = await startDoors({ rules: RULES });
    const origin = doors.origins['CONNECT + TLS'];
    const handshakeOf = async (localAddress: string) => {
      const before = origin.handshakes;
      expect((await doors.ask('CONNECT + TLS', { path: '/', localAddress }))[0]).toBe(200);
      origin.dropConnections();
      await origin.closed.atLeast(origin.connections);
      return origin.secured.all.slice(before).map(({ resumed }) => resumed);
    };
    expect(await handshakeOf('127.0.0.2')).toEqual([false]);
    expect(await handshakeOf('127.0.0.3')).toEqual([false]);
    expect(await handshakeOf('127.0.0.2')).toEqual([true]);
    expect(await handshakeOf('127.0.0.3')).toEqual([true]);
  });
});
