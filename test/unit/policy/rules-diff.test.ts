import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../../src/domain/record.ts';
import { diffRules } from '../../../src/policy/rules-diff.ts';
import { aRecord } from '../audit/a-record.ts';
import { INTERCEPT, type RuleText, ruleSetOf } from './kit.ts';

const API = 'http.host == "api.example.com"';
const all: RuleText = { id: 'all', condition: API, egress: INTERCEPT };
const get: RuleText = { id: 'get', condition: `${API} && http.method == "GET"`, egress: INTERCEPT };

function diff(before: readonly RuleText[], after: readonly RuleText[], ...records: readonly Partial<AuditRecord>[]) {
  const found = diffRules(
    ruleSetOf(...before),
    ruleSetOf(...after),
    records.map((record) => aRecord({ path: '/a', ...record })),
  );
  const turns = (list: typeof found.changed) => list.map((one) => [one.before.verdict, one.after.verdict, one.records]);
  return {
    changed: turns(found.changed),
    unclear: turns(found.unclear),
    same: found.same,
    unreadable: found.unreadable,
  };
}

describe('the difference of two rule sets on recorded traffic', () => {
  it('is each question that gets another verdict or mode, with how often it was asked', () => {
    expect(diff([all], [get], {}, {}, { method: 'GET' })).toMatchObject({ changed: [['allow', 'block', 2]], same: 1 });
    const tunnel = { id: 'all', condition: API };
    expect(diff([all], [tunnel], {})).toMatchObject({ changed: [['allow', 'allow', 1]] });
  });

  it('is nothing where another rule says the same', () => {
    expect(diff([all], [{ ...all, id: 'other' }], {})).toMatchObject({ changed: [], unclear: [], same: 1 });
  });

  it('covers connections that went through unread, and names that were asked for', () => {
    const flow = { event: 'flow', taken: 'tunnel', scheme: null, path: null, method: 'CONNECT' } as const;
    const query = { event: 'query', subsystem: 'dns', scheme: null, path: null, port: null, method: 'A' } as const;
    expect(diff([all], [], flow, query)).toMatchObject({
      changed: [
        ['allow', 'block', 1],
        ['allow', 'block', 1],
      ],
    });
    expect(diff([all], [all], flow, query)).toMatchObject({ changed: [], same: 2 });
  });

  it('may be one where a set hangs on what records do not hold, and is none where both say the same in each case', () => {
    const byHeader = { id: 'team', condition: `${API} && http.header("x-team") == "red"`, egress: INTERCEPT };
    expect(diff([all], [byHeader], {})).toMatchObject({ unclear: [['allow', 'unknown', 1]] });
    const byQuery = (value: string) => ({
      id: 'q',
      condition: `${API} && http.query["q"] == ["${value}"]`,
      egress: INTERCEPT,
    });
    const asked = { path: '/a?q=[redacted]' };
    expect(diff([byQuery('1')], [byQuery('1'), get], asked)).toMatchObject({ changed: [], unclear: [], same: 1 });
    expect(diff([byQuery('1')], [byQuery('2')], asked)).toMatchObject({
      unclear: [['unknown', 'unknown', 1]],
      same: 0,
    });
  });

  it('counts records that do not say what was asked', () => {
    expect(diff([all], [], { host: null }, { path: '/x[cut]' })).toMatchObject({ changed: [], unreadable: 2 });
  });
});
