/**
 * Every way in which a flow can fail technically, as one closed union and one table.
 * The table is the only source of status codes, X-Outcall-Failure-Reason, metric labels and docs/failures.md
 * (a test holds the page equal to it). A block by policy is a Verdict, never one of these.
 */

/** Who has to act: the client in the container, the server it named, who runs Outcall, or Outcall itself. */
export type Blame = 'agent' | 'origin' | 'operator' | 'appliance';

export interface FailureInfo {
  /** HTTP status, where an HTTP answer can still be given. */
  readonly status: number;
  readonly blame: Blame;
  /** What the agent reads, after `Outcall could not complete the request: `. */
  readonly text: string;
  /** What the operator does about it. */
  readonly fix: string;
}

export const FAILURES = {
  bad_request: {
    status: 400,
    blame: 'agent',
    text: 'the request is malformed',
    fix: 'The client sent HTTP that two parsers could read differently; the detail in the record names the rule broken.',
  },
  ambiguous_request: {
    status: 400,
    blame: 'agent',
    text: 'the request target can be read in more than one way',
    fix: 'Send the path without dot segments, backslashes, control bytes or raw non-ASCII characters.',
  },
  invalid_host: {
    status: 400,
    blame: 'agent',
    text: 'the host name or port is not valid',
    fix: 'Use a plain DNS name or a canonical IP address, and a port from 1 to 65535.',
  },
  header_too_large: {
    status: 431,
    blame: 'agent',
    text: 'the request head is larger than allowed',
    fix: 'Raise --max-head-bytes or --max-headers if the client is right to send so much.',
  },
  header_timeout: {
    status: 408,
    blame: 'agent',
    text: 'the request head did not arrive in time',
    fix: 'The client was too slow; raise --head-timeout-secs if that is expected.',
  },
  method_refused: {
    status: 405,
    blame: 'agent',
    text: 'this method is not served here',
    fix: 'CONNECT inside a tunnel, TRACE, and methods in lower case are never forwarded.',
  },
  upgrade_refused: {
    status: 400,
    blame: 'agent',
    text: 'this protocol upgrade is not served',
    fix: 'Only WebSocket upgrades are relayed; h2c and other protocols are refused.',
  },
  misdirected_request: {
    status: 421,
    blame: 'agent',
    text: 'the request names another host than the connection was opened for',
    fix: 'Host and :authority must equal the host of the connection; open one connection per host.',
  },
  sni_mismatch: {
    status: 403,
    blame: 'agent',
    text: 'the TLS server name differs from the host of the connection',
    fix: 'The client asked for one host and named another in TLS; this is how domain fronting looks.',
  },
  sni_missing: {
    status: 403,
    blame: 'agent',
    text: 'the TLS handshake names no server',
    fix: 'The client must send SNI; only names without a dot and IP addresses may go without, or a rule with egress.tls.sni_absent: allow.',
  },
  ech_unverifiable: {
    status: 403,
    blame: 'agent',
    text: 'the TLS handshake encrypts the server name, and what it shows is another',
    fix: 'Turn encrypted ClientHello (ECH) off in the client, or write egress.tls.ech: allow in the rule for this host.',
  },
  client_hello_malformed: {
    status: 400,
    blame: 'agent',
    text: 'the TLS ClientHello cannot be read',
    fix: 'The first bytes on the connection claim to be TLS and are not.',
  },
  client_hello_timeout: {
    status: 408,
    blame: 'agent',
    text: 'the TLS ClientHello did not arrive in time',
    fix: 'The client opened a connection and did not start TLS; raise --hello-timeout-secs if that is expected.',
  },
  not_tls: {
    status: 400,
    blame: 'agent',
    text: 'the connection carries neither TLS nor HTTP',
    fix: 'Other protocols need a rule with egress.mode: direct_ip for that host and port.',
  },
  client_handshake_failed: {
    status: 502,
    blame: 'agent',
    text: 'the TLS handshake with the client failed',
    fix: 'untrusted_ca: install the CA (outcall ca bundle) in the container; pinned or closed: use mode: proxy for this host.',
  },
  client_closed: {
    status: 499,
    blame: 'agent',
    text: 'the client closed the connection before the exchange was complete',
    fix: 'Nothing to do, unless it is closed_before_request each time: then the client does not trust the CA (outcall ca bundle), or pins certificates (use mode: proxy).',
  },
  agent_limit: {
    status: 503,
    blame: 'agent',
    text: 'this agent has too many connections open',
    fix: 'Raise --max-connections-per-agent if the agent is right to open so many.',
  },
  body_decode_failed: {
    status: 400,
    blame: 'agent',
    text: 'the request body is not what its Content-Encoding says',
    fix: 'A rule with match_body reads this body; the client must send it in the encoding that it names.',
  },
  dns_failed: {
    status: 502,
    blame: 'origin',
    text: 'the host name does not resolve',
    fix: 'Check the name, and --upstream-dns if it should resolve.',
  },
  dns_timeout: {
    status: 504,
    blame: 'operator',
    text: 'the resolver did not answer in time',
    fix: 'Check that the appliance reaches the servers of --upstream-dns.',
  },
  address_refused: {
    status: 403,
    blame: 'operator',
    text: 'the host resolves to a private or special address',
    fix: 'Set egress.allow_private_ips on the rule, or --allow-private for the range, if this is a host of yours.',
  },
  connect_failed: {
    status: 502,
    blame: 'origin',
    text: 'the connection to the host failed',
    fix: 'The host refused the connection or cannot be reached from the appliance.',
  },
  connect_timeout: {
    status: 504,
    blame: 'origin',
    text: 'the host did not accept the connection in time',
    fix: 'The host is down or filtered; raise --connect-timeout-secs if it is only slow.',
  },
  upstream_handshake_failed: {
    status: 502,
    blame: 'origin',
    text: 'the TLS handshake with the host failed',
    fix: 'The detail says why: its certificate did not verify (add trust_anchors), or it asks for a client certificate (use mode: proxy).',
  },
  certificate_unverified: {
    status: 502,
    blame: 'origin',
    text: 'the certificate of the host does not verify',
    fix: 'The detail says why: expired, wrong_name, unknown_ca, revoked, ... Another CA than the public ones goes into egress.tls.trust_anchors.',
  },
  certificate_changed: {
    status: 502,
    blame: 'origin',
    text: 'the host shows its certificates in turn, and the one of this connection could not be verified',
    fix: 'The certificate of the connection is not the one that Outcall was shown when it asked; try again, and look at the origin if it goes on.',
  },
  alpn_mismatch: {
    status: 502,
    blame: 'origin',
    text: 'the client and the host share no HTTP version',
    fix: 'Let the client offer http/1.1 as well as h2, or use mode: proxy for this host.',
  },
  origin_malformed: {
    status: 502,
    blame: 'origin',
    text: 'the host sent a malformed response',
    fix: 'The origin broke HTTP framing; the detail in the record names the rule broken.',
  },
  origin_closed: {
    status: 502,
    blame: 'origin',
    text: 'the host closed the connection before its response was complete',
    fix: 'The origin reset or closed early; try again, and look at the origin if it goes on.',
  },
  origin_timeout: {
    status: 504,
    blame: 'origin',
    text: 'the host did not respond in time',
    fix: 'Raise --idle-timeout-secs if this origin is expected to stay silent for longer.',
  },
  idle_timeout: {
    status: 408,
    blame: 'agent',
    text: 'the connection was idle for too long',
    fix: 'Raise --idle-timeout-secs if connections are expected to rest for longer.',
  },
  cert_gen_failed: {
    status: 502,
    blame: 'appliance',
    text: 'no certificate could be made for this host',
    fix: 'The signer failed or is restarting; see the daemon log, and outcall ca status.',
  },
  audit_unavailable: {
    status: 503,
    blame: 'operator',
    text: 'the audit record cannot be written',
    fix: 'Standard output of outcalld is blocked or full; nothing is let through unrecorded.',
  },
  draining: {
    status: 503,
    blame: 'appliance',
    text: 'the appliance is shutting down',
    fix: 'Wait for the restart; the client may try again.',
  },
  rules_changed: {
    status: 403,
    blame: 'operator',
    text: 'the rules no longer allow this',
    fix: 'A rule set was loaded that would not admit this flow, and so it was closed.',
  },
  internal_error: {
    status: 500,
    blame: 'appliance',
    text: 'an internal error',
    fix: 'This is a fault in Outcall; the daemon log has the stack.',
  },
} as const satisfies Record<string, FailureInfo>;

export type FailureReason = keyof typeof FAILURES;

/** The reasons in table order. */
export const FAILURE_REASONS = Object.keys(FAILURES) as readonly FailureReason[];

/** A technical failure of a flow. `detail` is for the record and the operator, never for the agent. */
export class FlowFailure extends Error {
  readonly reason: FailureReason;
  readonly detail: string | undefined;

  constructor(reason: FailureReason, options: { detail?: string; cause?: unknown } = {}) {
    super(
      options.detail === undefined ? reason : `${reason}: ${options.detail}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'FlowFailure';
    this.reason = reason;
    this.detail = options.detail;
  }

  get info(): FailureInfo {
    return FAILURES[this.reason];
  }
}

/** What was thrown, as a failure: anything but a FlowFailure is a fault of ours. */
export function asFailure(error: unknown): FlowFailure {
  return error instanceof FlowFailure ? error : new FlowFailure('internal_error', { cause: error });
}
