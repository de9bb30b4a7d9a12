/**
 * Rule sets that change under load (threat 33): with a rule on answers, and between audit and enforce. What every set
 * allows is never lost, and what a set refuses never passes while that set is in force.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { H2Agent } from '../kit/agent.ts';
import type { AgentSocket } from '../kit/agent-socket.ts';
import type { Origin, OriginReply, OriginRequest } from '../kit/origin.ts';
import { type H2Scene, startH2Scene } from './h2-scene.ts';
import { ask, type InterceptScene, startInterceptScene } from './intercept-scene.ts';

const CLIENTS = 4;
const ROUNDS = 40;
const RELOAD_EVERY = 7;

const RULES = `rules:
  - { id: no-delete, condition: 'http.method == "DELETE"', action: block }
  - id: answers
    condition: http.host == "api.test"
    action: allow
    egress:
      mode: intercept
      response: http.response.headers[?"content-type"].orValue("") in ["application/json", "text/event-stream"]
`;
const ENFORCE = `version: "1"\n${RULES}`;
const AUDIT = `version: "1"\ndefaults: { enforcement: audit }\n${RULES}`;

/** What a request may come to under either set. */
const KINDS = {
  good: { method: 'GET', path: '/json', enforce: 200 },
  'refused by its answer': { method: 'GET', path: '/html', enforce: 403 },
  'refused by itself': { method: 'DELETE', path: '/json', enforce: 403 },
} as const;
type Kind = keyof typeof KINDS;

function handler(request: OriginRequest, reply: OriginReply): boolean {
  if (request.url !== '/json' && request.url !== '/html') return false;
  const type = request.url === '/json' ? 'application/json' : 'text/html';
  request.incoming.resume();
  reply.writeHead(200, { 'content-type': type, 'content-length': 2 }).end('{}');
  return true;
}

/** Flips the rule set between the two, and knows which were in force between two moments. */
class Flipping {
  /** By generation, from 1. */
  readonly sets: ('enforce' | 'audit')[] = ['enforce'];
  readonly #proxy: InterceptScene['proxy'];
  #requests = 0;

  constructor(proxy: InterceptScene['proxy']) {
    this.#proxy = proxy;
  }

  get now(): number {
    return this.sets.length - 1;
  }

  /** One request was answered. */
  tick(): void {
    if (++this.#requests % RELOAD_EVERY !== 0) return;
    const next = this.sets[this.now] === 'audit' ? 'enforce' : 'audit';
    this.sets.push(next);
    this.#proxy.reload(next === 'audit' ? AUDIT : ENFORCE);
  }

  /** Why `status` (undefined: the connection broke) is wrong for a request under way from `from` until now. */
  fault(kind: Kind, status: number | undefined, from: number): string | undefined {
    const during = this.sets.slice(from);
    const { enforce } = KINDS[kind];
    if (status === undefined && enforce === 403 && during.length > 1) return undefined;
    const right = during.some((set) => status === (set === 'audit' ? 200 : enforce));
    return right ? undefined : `${kind}: ${status} under ${during.join(' -> ')}`;
  }
}

type Send = (kind: Kind) => Promise<number | undefined>;

/** Asks in turn for every kind, and gives what went wrong. */
async function load(flipping: Flipping, send: Send): Promise<string[]> {
  const faults: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const kind of Object.keys(KINDS) as Kind[]) {
      const from = flipping.now;
      const fault = flipping.fault(kind, await send(kind), from);
      if (fault !== undefined) faults.push(fault);
      flipping.tick();
    }
  }
  return faults;
}

/** Over HTTP/1.1 a refusal ends the connection, so another is opened then. */
function h1Sender(scene: InterceptScene): Send {
  let agent: AgentSocket | undefined;
  return async (kind) => {
    const { method, path } = KINDS[kind];
    agent ??= await scene.open();
    try {
      const { status } = await ask(agent, path, { method });
      if (status !== 200) agent = undefined;
      return status;
    } catch {
      agent = undefined;
      return undefined;
    }
  };
}

function h2Sender(agent: H2Agent): Send {
  return async (kind) => {
    const { method, path } = KINDS[kind];
    return agent.request({ ':method': method, ':path': path }).then(
      ({ status }) => status,
      () => undefined,
    );
  };
}

describe('rule sets that change under load', () => {
  it('lose nothing that all of them allow and let nothing slip, over HTTP/1.1; a stream of events goes on throughout', async () => {
    await using scene = await startInterceptScene({ rules: ENFORCE, origin: { handler } });
    await using events = await scene.open();
    await events.send('GET /sse HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const sse = await scene.origin.live.next();
    const flipping = new Flipping(scene.proxy);
    const all = await Promise.all(Array.from({ length: CLIENTS }, () => load(flipping, h1Sender(scene))));
    expect(all.flat()).toEqual([]);
    expect(flipping.sets.length).toBeGreaterThan(20);
    await sse.send('data: still here\n\n');
    await events.readUntil('data: still here\n\n');
    expectRecordsToAgree(scene, flipping);
  });

  it('lose nothing that all of them allow and let nothing slip, over HTTP/2; a stream of events goes on throughout', async () => {
    await using scene = await startH2Scene({ rules: ENFORCE, origin: { handler } });
    await using agent = await scene.open();
    const events = agent.session.request({ ':path': '/sse' });
    const sse = await scene.origin.live.next();
    const flipping = new Flipping(scene.proxy);
    const all = await Promise.all(Array.from({ length: CLIENTS }, () => load(flipping, h2Sender(agent))));
    expect(all.flat()).toEqual([]);
    expect(flipping.sets.length).toBeGreaterThan(20);
    await sse.send('data: still here\n\n');
    await once(events, 'data');
    expectRecordsToAgree(scene, flipping);
  });
});

/** Each record's verdict is that of the set of its generation. */
function expectRecordsToAgree(scene: InterceptScene | H2Scene<Origin>, { sets }: Flipping): void {
  const wrong = scene.proxy.records.all.filter(({ verdict, generation, would_block, method, path }) => {
    const set = sets[generation - 1];
    if (verdict === 'block') return set !== 'enforce';
    if (verdict !== 'allow') return false;
    const refusable = method === 'DELETE' || path === '/html';
    return (would_block !== null) !== refusable || (refusable && set !== 'audit');
  });
  expect(wrong).toEqual([]);
}
