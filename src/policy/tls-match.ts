/**
 * What `egress.tls` asks of a TLS handshake, in three values like a condition: undefined is "not seen yet".
 * Does not verify certificates: the doors do, and say under which roots everything holds (CertificateFacts.validUnder).
 * Upholds: threat 1 (no name, no match), and that a certificate which cannot be seen is no match unless the rule says so.
 */
import { createHash } from 'node:crypto';
import type { CertificateFacts } from '../domain/facts.ts';
import type { Tls13, TlsGrant, TrustSet } from '../domain/verdict.ts';
import { CelError, OUT_OF_BUDGET } from './cel-value.ts';
import type { Frame } from './frame.ts';
import { type Matcher, type MatcherResult, regexMatcher } from './matchers.ts';
import type { TlsInput } from './schema.ts';

/** Not seen, and never to be, where the rule says `tls13_uninspectable: deny`. */
export const UNINSPECTABLE = new CelError('no_value', "TLS 1.3 hides the server's certificate");

const SYSTEM_ROOTS: TrustSet = { id: '', anchors: [] };

type MatchInput = NonNullable<TlsInput['sni']>;

export class TlsMatch {
  readonly trust: TrustSet;
  readonly tls13: Tls13;
  /** The certificate decides too. */
  readonly needsCertificate: boolean;
  readonly #sni: NameMatch | undefined;
  readonly #san: NameMatch | undefined;
  readonly #cn: NameMatch | undefined;
  readonly #fingerprints: ReadonlySet<string> | undefined;

  /** Of input that was checked; `pemOf` gives the text of an anchor, `readsCertificate`: the rule's condition does. */
  constructor(input: TlsInput, pemOf: (file: string) => string, readsCertificate: boolean) {
    const { trust_anchors: anchors, fingerprint_sha256: fingerprints } = input;
    this.#sni = input.sni && new NameMatch(input.sni);
    this.#san = input.server_san && new NameMatch(input.server_san);
    this.#cn = input.server_cn && new NameMatch(input.server_cn);
    this.#fingerprints = fingerprints && new Set(fingerprints.map((text) => fingerprintOf(text) ?? ''));
    this.trust = anchors === undefined ? SYSTEM_ROOTS : trustSet(anchors, pemOf);
    this.tls13 = input.tls13_uninspectable ?? 'probe';
    this.needsCertificate = readsCertificate || matchesCertificate(input);
  }

  /** Something has to match; otherwise the keys only grant. */
  get matchesAnything(): boolean {
    return this.#sni !== undefined || this.needsCertificate;
  }

  get matchesSni(): boolean {
    return this.#sni !== undefined;
  }

  outcome(frame: Frame): boolean | undefined | CelError {
    if (frame.scheme === 'http') return false;
    const sni = this.#sniOutcome(frame);
    if (sni === false || sni instanceof CelError || !this.needsCertificate) return sni;
    const certificate = this.#certificateOutcome(frame);
    return certificate === true ? sni : certificate;
  }

  /** Each part by itself, for explanations: its key in egress.tls, and what it comes to. */
  outcomes(frame: Frame): readonly (readonly [string, boolean | undefined | CelError])[] {
    return [
      ...(this.#sni === undefined ? [] : [['egress.tls.sni', this.#sniOutcome(frame)] as const]),
      ...(this.needsCertificate ? [['the certificate, by egress.tls', this.#certificateOutcome(frame)] as const] : []),
    ];
  }

  #sniOutcome(frame: Frame): boolean | undefined | CelError {
    if (this.#sni === undefined) return true;
    if (frame.tls === undefined) return undefined;
    // No name is not an empty name, which `.*` would match.
    if (frame.tls === null || frame.tls.sni === '') return false;
    return this.#sni.test(frame.tls.sni, frame);
  }

  #certificateOutcome(frame: Frame): boolean | undefined | CelError {
    const { certificate } = frame;
    if (certificate === undefined) return undefined;
    if (certificate === null) return this.tls13 === 'deny' ? UNINSPECTABLE : this.tls13 === 'allow';
    return this.#accepts(certificate, frame);
  }

  #accepts(certificate: CertificateFacts, frame: Frame): boolean | CelError {
    if (!certificate.validUnder.includes(this.trust.id)) return false;
    if (this.#fingerprints?.has(certificate.fingerprintSha256) === false) return false;
    if (this.#cn !== undefined) {
      const cn = certificate.subjectCn !== '' && this.#cn.test(certificate.subjectCn, frame);
      if (cn !== true) return cn;
    }
    return this.#san === undefined ? true : this.#san.testAny(certificate.san, frame);
  }
}

/** What the keys of `egress.tls` let pass. */
export function tlsGrant(input: TlsInput): TlsGrant {
  return {
    sniAbsent: input.sni_absent === 'allow',
    ech: input.ech === 'allow',
    matchesSni: input.sni !== undefined,
  };
}

/** Some key is about the certificate. */
export function matchesCertificate(input: TlsInput): boolean {
  const { server_san, server_cn, fingerprint_sha256, trust_anchors } = input;
  return [server_san, server_cn, fingerprint_sha256, trust_anchors].some((key) => key !== undefined);
}

/** An expression that the whole of a name must match, in any case. */
export function wholeNameMatcher(pattern: string): MatcherResult {
  // By itself first, so that no bracket of it can close ours.
  const alone = regexMatcher(pattern);
  return alone.ok ? regexMatcher(`^(?i:${pattern})$`) : alone;
}

/** 64 lower-case hex digits of a fingerprint as openssl, browsers and others write it; undefined for anything else. */
export function fingerprintOf(text: string): string | undefined {
  const hex = text
    .replace(/^\s*sha-?256(?:\s+fingerprint)?\s*[:=]/i, '')
    .replace(/[\s:]/g, '')
    .toLowerCase();
  return /^[0-9a-f]{64}$/.test(hex) ? hex : undefined;
}

class NameMatch {
  readonly #exact: ReadonlySet<string>;
  readonly #regex: Matcher | undefined;

  constructor({ exact = [], regex }: MatchInput) {
    this.#exact = new Set(exact.map((name) => name.toLowerCase()));
    const compiled = regex === undefined ? undefined : wholeNameMatcher(regex);
    this.#regex = compiled?.ok === true ? compiled.matcher : undefined;
  }

  test(name: string, frame: Frame): boolean | CelError {
    if (this.#exact.has(name.toLowerCase())) return true;
    if (this.#regex === undefined) return false;
    return frame.spend(this.#regex.cost(name.length)) ? OUT_OF_BUDGET : this.#regex.test(name);
  }

  testAny(names: readonly string[], frame: Frame): boolean | CelError {
    for (const name of names) {
      const outcome = this.test(name, frame);
      if (outcome !== false) return outcome;
    }
    return false;
  }
}

/** Known by what the anchors say, so that a certificate seen under them counts no more when a reload has changed them. */
function trustSet(files: readonly string[], pemOf: (file: string) => string): TrustSet {
  const anchors = [...new Set(files)].sort().map(pemOf);
  return { id: createHash('sha256').update(JSON.stringify(anchors)).digest('base64url'), anchors };
}
