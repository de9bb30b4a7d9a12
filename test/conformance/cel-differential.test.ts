/**
 * Our evaluator against cel-js's own, on random conditions and random requests: the same answer, or an error from
 * both. The functions that rules add are written here a second time, in the plainest way.
 */
import { Environment, type ParseResult } from '@marcbachmann/cel-js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestFacts } from '../../src/domain/facts.ts';
import { isAddress } from '../../src/domain/hostname.ts';
import { checkCondition } from '../../src/policy/cel-check.ts';
import { CelError } from '../../src/policy/cel-value.ts';
import { Frame } from '../../src/policy/frame.ts';
import { GROUPS, NAMES } from '../../src/policy/names.ts';
import { conditions, requests } from '../unit/policy/arbitrary.ts';

const RUNS = 3_000;

const oracle = oracleEnvironment();

describe('the evaluator', () => {
  it('answers as cel-js does', () => {
    let errors = 0;
    fc.assert(
      fc.property(conditions(), requests, (source, facts) => {
        fc.pre(!knownDifference(source, facts));
        const theirs = oracleAnswer(oracle.parse(source), facts);
        if (theirs === 'error') errors++;
        expect(ourAnswer(source, facts)).toBe(theirs);
      }),
      { numRuns: RUNS },
    );
    expect(errors).toBeGreaterThan(RUNS / 50);
    expect(errors).toBeLessThan(RUNS / 2);
  });
});

/** cel-js answers has(x.f) with false and x.?f with none where x is no map; CEL asks for an error. */
function knownDifference(source: string, { body }: RequestFacts): boolean {
  const json = jsonOf(body);
  return (
    /has\(http\.json|http\.json\.\?/.test(source) && (typeof json !== 'object' || json === null || Array.isArray(json))
  );
}

function ourAnswer(source: string, facts: RequestFacts): boolean | 'error' | 'unknown' {
  const checked = checkCondition(source);
  if (!checked.ok) throw new Error(checked.faults[0]?.message);
  const frame = new Frame();
  frame.setRequest(facts);
  frame.showBody(facts, true);
  const value = checked.value.read(frame);
  if (value instanceof CelError) return 'error';
  return typeof value === 'boolean' ? value : 'unknown';
}

function oracleAnswer(program: ParseResult, facts: RequestFacts): boolean | 'error' {
  try {
    return program(contextOf(facts));
  } catch {
    return 'error';
  }
}

function contextOf({
  agent,
  host,
  port,
  scheme,
  method,
  target,
  headers,
  bodySize,
  body,
}: RequestFacts): Record<string, unknown> {
  const [path = '', ...query] = target.split('?');
  return {
    agent: { ...agent },
    network: { hostname: host, port: BigInt(port), protocol: 'tcp', ...(isAddress(host) ? { ip: host } : {}) },
    dns: { query: '', record_type: '' },
    tls: { sni: scheme === 'https' ? host : '' },
    http: {
      ...{ host, method, scheme, path: target, body, body_size: BigInt(bodySize) },
      query: path === target ? {} : queryOf(query.join('?')),
      headers: headersOf(headers),
      json: jsonOf(body),
    },
  };
}

function queryOf(query: string): Record<string, string[]> {
  const params = new URLSearchParams(query);
  return Object.fromEntries([...params.keys()].map((name) => [name, params.getAll(name)]));
}

function headersOf(headers: readonly string[]): Record<string, string> {
  const joined: Record<string, string> = {};
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase();
    const before = joined[name];
    joined[name] =
      before === undefined ? headers[i + 1]! : [before, headers[i + 1]].join(name === 'cookie' ? '; ' : ', ');
  }
  return joined;
}

function jsonOf(body: string | null | undefined): unknown {
  try {
    return JSON.parse(body as string);
  } catch {
    return null;
  }
}

function oracleEnvironment(): Environment {
  const environment = new Environment({ enableOptionalTypes: true, homogeneousAggregateLiterals: false });
  for (const group of GROUPS) {
    const fields = [...NAMES].filter(([name]) => name.startsWith(`${group}.`));
    const schema = Object.fromEntries(fields.map(([name, { type }]) => [name.slice(group.length + 1), type]));
    environment.registerType({ name: `Oracle${group}`, schema });
    environment.registerVariable(group, `Oracle${group}`);
  }
  const sync = { async: false };
  const within = (text: string, name: string) => `.${text}`.endsWith(`.${name}`);
  environment.registerFunction('domain(string, string): bool', within, sync);
  environment.registerFunction('glob(string, string): bool', (text: string) => /^\/v1\/[^/]*$/.test(text), sync);
  environment.registerFunction('cidr(string, string): bool', (text: string) => text.startsWith('10.'), sync);
  const header = (http: ReadonlyMap<string, Record<string, string>>, name: string) =>
    http.get('headers')?.[name.toLowerCase()] ?? '';
  environment.registerFunction('Oraclehttp.header(string): string', header, sync);
  return environment;
}
