/**
 * What `matches()`, `glob()`, `cidr()` and `domain()` compile their literal pattern to, once, when the rules load.
 * Nothing here runs in more than linear time of the text, and no pattern comes from a request (threats 7, 31).
 */
import { RE2JS } from 're2js';
import { canonicalHost, type Host, isAddress } from '../domain/hostname.ts';
import { CidrSet } from '../domain/ip.ts';
import { MAX_REGEX_INSTRUCTIONS } from './limits.ts';
import { Regex } from './regex.ts';

/** Reading an address and comparing it. */
const ADDRESS_STEPS = 10;

/** A test of one text, and what a text of so many characters costs in steps. */
export interface Matcher {
  test(text: string): boolean;
  cost(chars: number): number;
}

export type MatcherResult =
  | { readonly ok: true; readonly matcher: Matcher }
  | { readonly ok: false; readonly message: string; readonly fix?: string };

/** RE2 syntax; true where the pattern is found anywhere in the text, as CEL's `matches` has it. */
export function regexMatcher(pattern: string): MatcherResult {
  try {
    const matcher = new Regex(pattern);
    const { instructions } = matcher;
    if (instructions > MAX_REGEX_INSTRUCTIONS) {
      const message = `the regular expression compiles to ${instructions} instructions; at most ${MAX_REGEX_INSTRUCTIONS} are allowed`;
      return { ok: false, message, fix: 'use smaller repeat counts' };
    }
    return { ok: true, matcher };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return {
      ok: false,
      message: `not a regular expression of RE2: ${detail}`,
      fix: 'RE2 has no look-ahead and no back-references',
    };
  }
}

/** `*` is any run of characters but `/`, `**` any run at all; everything else is itself. The whole text must match. */
export function globMatcher(pattern: string): MatcherResult {
  const parts = pattern.split(/(\*+)/);
  if (parts.some((part) => part.startsWith('***'))) {
    return { ok: false, message: 'a glob knows * and ** only', fix: pattern.replace(/\*{3,}/g, '**') };
  }
  const source = parts.map((part) => (part === '**' ? '(?s:.*)' : part === '*' ? '[^/]*' : RE2JS.quote(part))).join('');
  return regexMatcher(`^(?:${source})$`);
}

/** True for addresses within the range; false for what is no address. */
export function cidrMatcher(range: string): MatcherResult {
  const set = CidrSet.parse([range]);
  if (set.ok) return { ok: true, matcher: { test: (text) => set.value.contains(text), cost: () => ADDRESS_STEPS } };
  const [problem] = set.problems;
  return { ok: false, message: problem?.message ?? 'not a CIDR range', fix: problem?.fix ?? '10.0.0.0/8' };
}

/** The canonical form of the name given to `domain()`, which is matched on label boundaries. */
export function domainName(name: string): { ok: true; host: Host } | { ok: false; message: string; fix?: string } {
  const host = canonicalHost(name);
  if (host === name) return { ok: true, host };
  if (host !== undefined) return { ok: false, message: 'hosts are compared in canonical form', fix: host };
  const bare = canonicalHost(name.replace(/^[*.]+/, ''));
  const message = 'not a host name; domain() matches the name and every name below it';
  return bare === undefined ? { ok: false, message } : { ok: false, message, fix: bare };
}

/** True for the domain itself and every name below it. */
export function withinDomain(text: string, domain: Host): boolean {
  if (text === domain) return true;
  if (isAddress(domain)) return false;
  return text.length > domain.length && text.endsWith(domain) && text[text.length - domain.length - 1] === '.';
}
