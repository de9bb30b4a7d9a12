/**
 * What policy answers. Only policy/decide builds these, and its one fall-through is a block.
 */

/** What an allow rule asks for (as written in YAML). */
export type Mode = 'proxy' | 'direct_ip' | 'intercept';

/** What an allowing rule grants to the flow. */
export interface Grant {
  readonly mode: Mode;
  readonly allowPrivateIps: boolean;
  /** PEM of extra roots for the origin; empty for the system roots alone. */
  readonly trustAnchors: readonly string[];
  /** What a rule with egress.tls lets pass in the ClientHello; undefined for every other rule. */
  readonly tls: TlsGrant | undefined;
}

/** Exceptions to "the SNI must be the host of the connection". */
export interface TlsGrant {
  /** A hello without SNI may go through. */
  readonly sniAbsent: boolean;
  /** A hello with encrypted_client_hello may go through although its outer name is another. */
  readonly ech: boolean;
  /** The rule has matched the SNI itself, so on a connection to an address it may be a name. */
  readonly matchesSni: boolean;
}

export interface Allow {
  readonly action: 'allow';
  /** `default` where nothing matched and the closing default is in audit. */
  readonly ruleId: string;
  readonly grant: Grant;
  /** False where the rule says `log: false`. */
  readonly log: boolean;
  /**
   * From decideConnect alone: it hangs on the ClientHello or the certificate. Nothing may be dialled before decideHello
   * has been asked.
   */
  readonly provisional: boolean;
  /** The rule has egress.response: decideResponse is asked before the first byte of the answer goes to the agent. */
  readonly checksResponse: boolean;
  /** The first block that was not enforced, since its rule or the closing default is in audit. */
  readonly wouldBlock: Block | undefined;
}

export interface Block {
  readonly action: 'block';
  /** The id of the rule, or `default` when no rule matched. */
  readonly ruleId: string;
  /** rule: its condition was true; error: its condition could not be evaluated; default: nothing matched. */
  readonly cause: 'rule' | 'error' | 'default';
  /** One line for the agent, after `Blocked by outcall: `. */
  readonly reason: string;
  readonly log: boolean;
}

export type Verdict = Allow | Block;

/** A request cannot be decided before its body has been read: a rule with match_body depends on it. */
export interface NeedBody {
  readonly action: 'need_body';
  readonly ruleId: string;
}

export type Decision = Verdict | NeedBody;

/** What to do where TLS 1.3 encrypts the server's certificate: ask for it ourselves first, refuse, or let it pass. */
export type Tls13 = 'probe' | 'deny' | 'allow';

/** Roots that a certificate may have to lead to. */
export interface TrustSet {
  /** `` for the system's roots; see CertificateFacts.validUnder. */
  readonly id: string;
  /** PEM texts, in place of the system's roots; none for those. */
  readonly anchors: readonly string[];
}

/** A connection cannot be decided before the server's certificate has been seen. */
export interface NeedCertificate {
  readonly action: 'need_certificate';
  /** The first rule that hangs on it. */
  readonly ruleId: string;
  /** By which the origin is dialled to see it. */
  readonly grant: Grant;
  readonly tls13: Tls13;
  /** Each is tried, for CertificateFacts.validUnder. */
  readonly trustSets: readonly TrustSet[];
}

export type HelloDecision = Verdict | NeedCertificate;

/** `audit`: what would be blocked is recorded and let through. */
export type Enforcement = 'enforce' | 'audit';
