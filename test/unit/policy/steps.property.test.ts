/**
 * What the steps of a decision owe one another, on random rules: a connection that is settled stays settled whatever is
 * seen later, audit tells exactly the block that enforcement gives, and a set that uses none of it decides as it did
 * when none of it was there (held to a model of that walk).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestFacts } from '../../../src/domain/facts.ts';
import type { Decision, HelloDecision, Verdict } from '../../../src/domain/verdict.ts';
import type { Value } from '../../../src/policy/cel-value.ts';
import { CelError } from '../../../src/policy/cel-value.ts';
import { Frame } from '../../../src/policy/frame.ts';
import type { RuleDraft } from '../../../src/policy/rule.ts';
import { ruleSet } from '../../../src/policy/rule-set.ts';
import { requests } from './arbitrary.ts';
import { anyDrafts, certificates, hellos, inAudit, plainDrafts } from './arbitrary-rules.ts';

const RUNS = 400;
const statuses = fc.constantFrom(200, 500);

/** An intercepted connection is granted what any rule grants that may still allow inside: fewer may as more is seen. */
function settledPart(decision: HelloDecision | Decision): unknown {
  if (decision.action !== 'allow' || decision.grant.mode !== 'intercept') return decision;
  return { ...decision, grant: { ...decision.grant, allowPrivateIps: undefined } };
}

/** Nobody asks for its certificate: each request inside is decided by itself, and there tls.cert.* has no value. */
function isIntercepted(decision: HelloDecision): boolean {
  return decision.action === 'allow' && decision.grant.mode === 'intercept';
}

describe('a connection', () => {
  it('that is settled stays settled, whatever the ClientHello and the certificate say', () => {
    let settled = 0;
    let open = 0;
    fc.assert(
      fc.property(anyDrafts, requests, hellos, certificates, (drafts, facts, tls, certificate) => {
        const rules = ruleSet(drafts, 1);
        const first = rules.decideConnect(facts);
        const last = rules.decideCertificate({ ...facts, tls }, certificate);
        expect(last).not.toMatchObject({ provisional: true });
        if (first.action === 'allow' && first.provisional) {
          open++;
          return;
        }
        settled++;
        const second = rules.decideHello({ ...facts, tls });
        if (first.action === 'block') expect([second.action, last.action]).toEqual(['block', 'block']);
        else expect(settledPart(second)).toEqual(settledPart(first));
        if (first.action === 'allow' && !isIntercepted(first)) expect(last).toEqual(first);
      }),
      { numRuns: RUNS },
    );
    expect(Math.min(settled, open)).toBeGreaterThan(RUNS / 20);
  });

  it('that the ClientHello settles stays settled, whatever the certificate says', () => {
    fc.assert(
      fc.property(anyDrafts, requests, hellos, certificates, (drafts, facts, tls, certificate) => {
        const rules = ruleSet(drafts, 1);
        const hello = { ...facts, tls };
        const second = rules.decideHello(hello);
        if (second.action === 'need_certificate' || isIntercepted(second)) return;
        const last = rules.decideCertificate(hello, certificate);
        if (second.action === 'block') expect(last.action).toBe('block');
        else expect(last).toEqual(second);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('a set in audit', () => {
  /** The enforced verdict, as audit has to tell it. */
  const retold = (verdict: Decision) => (verdict.action === 'allow' ? undefined : verdict);
  const wouldBlock = (verdict: Decision) => (verdict.action === 'allow' ? verdict.wouldBlock : verdict);

  it('blocks nothing, and tells of each question the block that enforcement gives, or none', () => {
    fc.assert(
      fc.property(anyDrafts, requests, hellos, certificates, statuses, (drafts, facts, tls, certificate, status) => {
        const enforced = ruleSet(drafts, 1);
        const audit = ruleSet(inAudit(drafts), 1, { enforcement: 'audit', unmatched: 'tunnel' });
        const questions = [
          (set: typeof enforced): Verdict => set.decideCertificate({ ...facts, tls }, certificate),
          (set: typeof enforced): Decision => set.decideRequest({ ...facts, tls }),
          (set: typeof enforced): Decision => {
            const decision = set.decideRequest({ ...facts, tls });
            if (decision.action !== 'allow') return decision;
            return set.decideResponse(decision, { ...facts, tls }, { status, headers: [] });
          },
          (set: typeof enforced): Verdict => set.decideName({ ...facts, recordType: 'A' }),
          (set: typeof enforced): Verdict => set.decideName({ ...facts, recordType: 'TXT' }),
        ];
        for (const ask of questions) {
          const [told, given] = [ask(audit), ask(enforced)];
          expect(told.action).toBe('allow');
          expect(wouldBlock(told)).toEqual(retold(given));
          if (given.action === 'allow') expect(settledPart(told)).toEqual(settledPart(given));
        }
      }),
      { numRuns: RUNS },
    );
  });
});

describe('a set without egress.tls, tls.*, egress.response and audit', () => {
  it('decides as it did before there were any', () => {
    fc.assert(
      fc.property(plainDrafts, requests, hellos, (drafts, facts, tls) => {
        const rules = ruleSet(drafts, 1);
        const connect = rules.decideConnect(facts);
        expect(shown(connect)).toBe(connectBefore(drafts, facts));
        expect(rules.decideHello({ ...facts, tls })).toEqual(connect);
        expect(rules.decideCertificate({ ...facts, tls }, undefined)).toEqual(connect);
        expect(shown(rules.decideRequest(facts))).toBe(requestBefore(drafts, facts));
        expect(shown(rules.decideRequest({ ...facts, body: undefined, tls }))).toBe(
          requestBefore(drafts, { ...facts, body: undefined }),
        );
        for (const verdict of [connect, rules.decideRequest(facts)])
          if (verdict.action === 'allow')
            expect(verdict).toMatchObject({ provisional: false, checksResponse: false, wouldBlock: undefined });
      }),
      { numRuns: RUNS },
    );
  });
});

function shown(decision: Decision): string {
  if (decision.action === 'allow') return `allow ${decision.ruleId} ${decision.grant.mode}`;
  return decision.action === 'block' ? `block ${decision.ruleId} ${decision.cause}` : `need_body ${decision.ruleId}`;
}

/** The walk at CONNECT by its specification alone. */
function connectBefore(drafts: readonly RuleDraft[], facts: RequestFacts): string {
  const seen = new Frame();
  const late = new Frame();
  let waiting: string | undefined;
  for (const { view, condition, ports } of drafts) {
    if (ports?.includes(facts.port) === false) continue;
    seen.setConnect(facts);
    late.setLate(facts.host, facts);
    const unseen = evaluated(condition.read, late);
    const value = view.mode === 'intercept' ? unseen : evaluated(condition.read, seen);
    if (view.mode === 'intercept') {
      if (value === true || value === undefined) return `allow ${view.id} intercept`;
    } else if (view.action === 'allow') {
      if (value === true) return waiting ?? `allow ${view.id} ${view.mode}`;
    } else if (value === true) return `block ${view.id} rule`;
    else if (value instanceof CelError) {
      if (unseen !== undefined) return `block ${view.id} error`;
      waiting ??= `block ${view.id} error`;
    }
  }
  return 'block default default';
}

/** The walk for a request by its specification alone. */
function requestBefore(drafts: readonly RuleDraft[], facts: RequestFacts): string {
  const folded = facts.target.replace(/^[^?]*/, (path) => path.replace(/\/+/g, '/'));
  for (const { view, condition, ports, matchBody } of drafts) {
    if (ports?.includes(facts.port) === false) continue;
    const readsBody = matchBody || (view.action === 'block' && /http\.(?:body\b|json)/.test(view.condition));
    const values = (view.action === 'block' ? [facts.target, folded] : [facts.target]).map((target) => {
      const frame = new Frame();
      frame.setRequest({ ...facts, target });
      frame.showBody(facts, readsBody);
      return evaluated(condition.read, frame);
    });
    const [value, other] = values;
    if (view.action === 'allow') {
      if (value === undefined) return `need_body ${view.id}`;
      if (value === true) return `allow ${view.id} ${view.mode}`;
    } else if (values.includes(true)) return `block ${view.id} rule`;
    else if (value instanceof CelError) return `block ${view.id} error`;
    else if (values.includes(undefined)) return `need_body ${view.id}`;
    else if (other instanceof CelError) return `block ${view.id} error`;
  }
  return 'block default default';
}

function evaluated(read: (frame: Frame) => Value, frame: Frame): Value {
  frame.refill();
  return read(frame);
}
