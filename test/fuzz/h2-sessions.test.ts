/**
 * Whole HTTP/2 sessions of frames that may be anything, against our session as a server and as a client: it never throws,
 * never hangs, answers in frames that can be read, and takes nothing for whole that is not. And the same frames to
 * node:http2: what it refuses ours refuses, and what both take is the same message. OUTCALL_FUZZ_MS lengthens each property.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readH2RequestHeaders } from '../../src/wire/http2-headers.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';
import { clientScripts, originScripts, type Script } from './h2-frames.ts';
import { ASKED, later, type Message, nodeClient, nodeServer, type Outcome, ourClient, ourServer } from './h2-peers.ts';

const WILD = { others: 25, changes: 2 };
const MILD = { others: 10, changes: 1 };
const cuts = fc.oneof(fc.constant([]), fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 4 }));

describe('a session of any frames', () => {
  it.each([
    ['of a client', clientScripts(WILD), ourServer],
    ['of an origin', originScripts(WILD, ASKED), ourClient],
  ] as const)(
    '%s ends with GOAWAY or goes on, and what came whole is the same however it was cut',
    async (_, scripts, play) => {
      const seen = { open: 0, ended: 0, whole: 0 };
      await fc.assert(
        fc.asyncProperty(scripts, cuts, async (script, pieces) => {
          const outcome = await play(script, pieces);
          const other = await play(script);
          expect([other.whole, typeof other.ended]).toEqual([outcome.whole, typeof outcome.ended]);
          seen[isError(outcome) ? 'ended' : 'open']++;
          for (const message of outcome.whole.values()) {
            seen.whole++;
            if (play === ourServer) expect(readH2RequestHeaders(message.list)).toMatchObject({ ok: true });
            expectDeclaredLength(message);
          }
        }),
        fuzzBudget(),
      );
      expect(Math.min(seen.open, seen.ended, seen.whole)).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('the same frames to ours and to node:http2', () => {
  it.each([
    ['servers', clientScripts(MILD), (script: Script) => ourServer(script, [], later), nodeServer],
    ['clients', originScripts(MILD, ASKED), ourClient, nodeClient],
  ] as const)(
    'as %s: what it refuses ours refuses, and what both take is the same message',
    async (_, scripts, ours, nodes) => {
      const seen = { same: 0, refused: 0 };
      await fc.assert(
        fc.asyncProperty(scripts, async (script) => {
          const [mine, its] = [await ours(script), await nodes(script)];
          expectNoLaxer(script, mine, its);
          seen.same += mine.whole.size;
          if (isError(its)) seen.refused++;
        }),
        fuzzBudget(),
      );
      expect(Math.min(seen.same, seen.refused)).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});

function expectNoLaxer(script: Script, mine: Outcome, its: Outcome): void {
  for (const [id, message] of mine.whole) {
    const other = its.whole.get(id);
    // Of what came before the connection's end node may tell no more.
    if (other === undefined && (script.resets.has(id) || typeof its.ended === 'number')) continue;
    expect([id, other]).toEqual([id, { ...message, list: asNodeTells(message.list) }]);
  }
  // RFC 9113 lets an error of a stream be one of the connection (section 5.4.2). Of a frame that is not there whole node
  // judges the head already.
  const refuses = typeof mine.ended === 'number' || mine.ended === 'waiting' || script.lenient || mine.refused;
  expect([isError(its), refuses]).not.toEqual([true, false]);
}

/** nghttp2 drops a length of 0 from a 204, which should not have one (RFC 9110 section 8.6). */
function asNodeTells(list: readonly string[]): readonly string[] {
  return list[1] === '204' ? list.filter((_, i) => list[i - (i % 2)] !== 'content-length') : list;
}

/** What a client closes or half sends is no error. */
function isError({ ended }: Outcome): boolean {
  return typeof ended === 'number' && ended > 0;
}

function expectDeclaredLength({ list, body }: Message): void {
  const at = list.indexOf('content-length');
  const bodyless = body === '' && list[0] === ':status';
  if (at >= 0 && !bodyless) expect(body.length).toBe(Number(list[at + 1]));
}
