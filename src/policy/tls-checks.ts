/**
 * What a schema cannot say about `egress.tls`: where it may stand, what its matchers can match, what has no effect.
 * Upholds: threat 27 (a matcher that can never match is told at load).
 */
import { canonicalHost } from '../domain/hostname.ts';
import { anchorFault } from './anchors.ts';
import type { Finding } from './finding.ts';
import type { MatcherResult } from './matchers.ts';
import type { RuleInput, TlsInput } from './schema.ts';
import { fingerprintOf, matchesCertificate, wholeNameMatcher } from './tls-match.ts';

type Egress = NonNullable<RuleInput['egress']>;
type Path = Finding['path'];

const TLS: Path = ['egress', 'tls'];
const MATCHERS = ['sni', 'server_san', 'server_cn'] as const;

/** `readsCertificate`: the rule's condition does. */
export function checkTls(
  { mode, tls }: Egress,
  anchors: ReadonlyMap<string, string>,
  readsCertificate: boolean,
): readonly Finding[] {
  if (tls === undefined) return [];
  if (mode !== 'proxy') return [wrongMode(mode)];
  if (Object.keys(tls).length === 0) return [error(TLS, 'tls says nothing', 'sni: { exact: [api.example.com] }')];
  return [
    ...MATCHERS.flatMap((key) => nameFaults(key, tls)),
    ...(tls.fingerprint_sha256 ?? []).flatMap((text, i) => fingerprintFault(text, [...TLS, 'fingerprint_sha256', i])),
    ...(tls.trust_anchors ?? []).flatMap((name, i) => {
      const fault = anchorFault(name, anchors);
      return fault === undefined ? [] : [error([...TLS, 'trust_anchors', i], fault.message, fault.fix)];
    }),
    ...contradictions(tls, readsCertificate),
  ];
}

function wrongMode(mode: Egress['mode']): Finding {
  const message =
    mode === 'intercept'
      ? 'tls and mode: intercept cannot be mixed: a decrypted connection is decided by its requests'
      : 'tls is only for mode: proxy; what is relayed under direct_ip is not read';
  return error(TLS, message, 'mode: proxy, or remove tls');
}

function nameFaults(key: (typeof MATCHERS)[number], tls: TlsInput): readonly Finding[] {
  const match = tls[key];
  if (match === undefined) return [];
  const path = [...TLS, key];
  const { exact, regex } = match;
  if (exact === undefined && regex === undefined)
    return [error(path, `${key} says nothing`, 'exact: [api.example.com]')];
  const wrong = regex === undefined ? undefined : refused(wholeNameMatcher(regex));
  return [
    ...(wrong === undefined ? [] : [error([...path, 'regex'], wrong.message, wrong.fix ?? 'write it in RE2')]),
    ...(key === 'sni' ? (exact ?? []).flatMap((name, i) => hostFault(name, [...path, 'exact', i])) : []),
  ];
}

function refused(result: MatcherResult): Extract<MatcherResult, { ok: false }> | undefined {
  return result.ok ? undefined : result;
}

function hostFault(name: string, path: Path): readonly Finding[] {
  const host = canonicalHost(name);
  if (host === name.toLowerCase()) return [];
  return [error(path, 'can never match: no server name is ever written like this', host ?? 'a regex, for many names')];
}

function fingerprintFault(text: string, path: Path): readonly Finding[] {
  if (fingerprintOf(text) !== undefined) return [];
  const message = text.startsWith('sha256/')
    ? 'a pin of the public key; fingerprint_sha256 is that of the whole certificate'
    : 'not a SHA-256 fingerprint: 64 hex digits, with or without colons';
  return [error(path, message, 'openssl x509 -in cert.pem -noout -fingerprint -sha256')];
}

function contradictions(tls: TlsInput, readsCertificate: boolean): readonly Finding[] {
  const findings: Finding[] = [];
  if (tls.sni !== undefined && tls.sni_absent === 'allow') {
    const message = 'sni_absent: allow has no meaning beside sni: a hello without a name matches none';
    findings.push(error([...TLS, 'sni_absent'], message, 'remove one of the two, or make two rules'));
  }
  if (tls.tls13_uninspectable !== undefined && !readsCertificate && !matchesCertificate(tls)) {
    const message = 'tls13_uninspectable has no effect: nothing in this rule looks at the certificate';
    const fix = 'add server_san, server_cn, fingerprint_sha256 or trust_anchors, or remove it';
    findings.push({ severity: 'warning', path: [...TLS, 'tls13_uninspectable'], message, fix });
  }
  return findings;
}

function error(path: Path, message: string, fix: string): Finding {
  return { severity: 'error', path, message, fix };
}
