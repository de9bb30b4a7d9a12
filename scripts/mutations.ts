/**
 * The guards that `npm run mutate` disables one at a time, each with the test that must then go red. `find` stands in
 * the file exactly once (a test sees to it); what replaces it must still compile, or the red would prove nothing.
 */

export interface Mutation {
  /** What no longer holds when this is in place. */
  readonly guard: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Test file that must fail; a title narrows it down where the file is slow. */
  readonly test: string;
  readonly title?: string;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    guard: 'a CA key that others may read is refused',
    file: 'src/pki/ca-key.ts',
    find: '(mode & ~WIDEST_MODE) !== 0',
    replace: 'mode === 0',
    test: 'test/unit/pki/ca-files.test.ts',
  },
  {
    guard: 'a CA key that is not the one of the certificate is refused',
    file: 'src/pki/ca-key.ts',
    find: '!certificate.checkPrivateKey(key)',
    replace: 'path.length === 0',
    test: 'test/unit/pki/ca-files.test.ts',
  },
  {
    guard: 'the signer signs for no host that its CA may not sign for',
    file: 'src/pki/signer.ts',
    find: 'constraints !== undefined && !maySign(constraints, host)',
    replace: "constraints !== undefined && !maySign(constraints, host) && host === ''",
    test: 'test/clients/constrained-ca.test.ts',
    title: 'trusts what a constrained CA signs within its domain, and gets no leaf outside',
  },
  {
    guard: 'a CA that rules intercept by is deleted by force alone',
    file: 'src/daemon/ca-keeper.ts',
    find: "if (which !== 'all' || force || using.length === 0) return;",
    replace: 'if (using.length >= 0) return;',
    test: 'test/unit/daemon/ca-changes.test.ts',
    title: 'is deleted only when no rule intercepts; by force, the hosts of such rules are refused and never tunnelled',
  },
  {
    guard: 'a key that is sent before 101 is not passed on',
    file: 'src/admin/ca-upload.ts',
    find: 'head.length > 0 ||',
    replace: 'head.length < 0 ||',
    test: 'test/unit/daemon/ca-changes.test.ts',
    title: 'takes no key without the answer 101, nor one that is cut short or without end',
  },
  {
    guard: 'an address of our own is not dialled',
    file: 'src/upstream/address-guard.ts',
    find: "ipClass !== 'loopback' && ownAddresses().has(address)",
    replace: 'address.length === 0',
    test: 'test/unit/upstream/address-guard.test.ts',
  },
  {
    guard: 'a private address needs a grant or --allow-private',
    file: 'src/upstream/address-guard.ts',
    find: 'return grant.allowPrivateIps || allowPrivate.contains(address);',
    replace: 'return true;',
    test: 'test/unit/upstream/address-guard.test.ts',
  },
  {
    guard: 'one Content-Length, and no second one',
    file: 'src/wire/http1-fields.ts',
    find: "if (section.length >= 0) section.problem = 'more than one Content-Length field';\n  else if",
    replace: 'if',
    test: 'test/unit/wire/http1-head.test.ts',
  },
  {
    guard: 'Content-Length and Transfer-Encoding never stand together',
    file: 'src/wire/http1-fields.ts',
    find: 'else if (section.length >= 0) section.problem = BOTH_FRAMINGS;\n  else if (value',
    replace: 'else if (value',
    test: 'test/unit/wire/http1-head.test.ts',
  },
  {
    guard: 'a second Host field is refused',
    file: 'src/wire/http1-fields.ts',
    find: "if (section.host !== undefined) section.problem = 'more than one Host field';",
    replace: '',
    test: 'test/unit/wire/http1-head.test.ts',
  },
  {
    guard: 'a dot segment in any encoding is refused',
    file: 'src/wire/target.ts',
    find: "if (hasDotSegment(octets)) return 'an encoded dot segment';",
    replace: '',
    test: 'test/unit/wire/target.test.ts',
  },
  {
    guard: 'a port has one spelling',
    file: 'src/wire/authority.ts',
    find: '/^[1-9][0-9]{0,4}$/',
    replace: '/^[0-9]+$/',
    test: 'test/unit/wire/authority.test.ts',
  },
  {
    guard: 'an IPv4 address has one spelling',
    file: 'src/domain/hostname.ts',
    find: 'if (NUMERIC_LABEL.test(labels[labels.length - 1] as string)) return undefined;',
    replace: '',
    test: 'test/unit/domain/hostname.test.ts',
  },
  {
    guard: 'query values are redacted',
    file: 'src/audit/redact.ts',
    find: 'shown.length <= MAX_PATH_CHARS ? shown',
    replace: 'target.length <= MAX_PATH_CHARS ? target',
    test: 'test/unit/audit/redact.test.ts',
  },
  {
    guard: "a tunnel's server name is the CONNECT host",
    file: 'src/proxy/server-name.ts',
    find: 'if (sni === host) return undefined;',
    replace: 'if (sni !== undefined) return undefined;',
    test: 'test/flow/tunnel.test.ts',
  },
  {
    guard: 'a second ClientHello names the server of the first',
    file: 'src/proxy/second-hello.ts',
    find: 'if (second.hello.sni === first.sni && second.hello.ech === first.ech) return undefined;',
    replace: 'if (second.hello.ech === first.ech) return undefined;',
    test: 'test/flow/second-hello.test.ts',
  },
  {
    guard: 'a tunnel whose server asks for a second ClientHello is not open before that was read',
    file: 'src/proxy/second-hello.ts',
    find: 'else if (asks) this.#readSecond();',
    replace: 'else if (asks && this.#held.length < 0) this.#readSecond();',
    test: 'test/flow/second-hello.test.ts',
  },
  {
    guard: 'nothing of the client but its ClientHello passes before the certificate has been judged',
    file: 'src/proxy/metadata.ts',
    find: 'const hello = bytes.subarray(0, request.hello.bytes);',
    replace: 'const hello = bytes.subarray(0);',
    test: 'test/flow/metadata-held.test.ts',
  },
  {
    guard: 'the certificate that TLS 1.2 shows is the one that was verified',
    file: 'src/upstream/certificate-probe.ts',
    find: 'if (wanted === undefined || seen.facts.fingerprintSha256 === wanted) return seen;',
    replace: 'if (seen.facts.fingerprintSha256.length > 0) return seen;',
    test: 'test/unit/upstream/certificate-probe.test.ts',
  },
  {
    guard: 'a certificate that was revoked is valid under nothing',
    file: 'src/upstream/staple.ts',
    find: "if (about.some(({ status }) => status === 'revoked')) return 'revoked';",
    replace: 'if (about.length < 0) return undefined;',
    test: 'test/unit/upstream/certificate-probe.test.ts',
  },
  {
    guard: 'an answer is decided before the agent gets a byte of it, over HTTP/1.1',
    file: 'src/proxy/h1-response.ts',
    find: 'if (!this.#admits(head)) return;\n    this.head = head;\n    this.#exchange',
    replace: 'this.head = head;\n    this.#exchange',
    test: 'test/flow/response-rules.test.ts',
  },
  {
    guard: 'an answer is decided before the agent gets a byte of it, over HTTP/2',
    file: 'src/proxy/h2-relay.ts',
    find: 'if (!this.#owner.admits(raw)) return;',
    replace: 'if (raw.length === 0) return;',
    test: 'test/flow/response-rules-h2.test.ts',
  },
  {
    guard: 'a 101 is an answer too',
    file: 'src/proxy/h1-response.ts',
    find: 'if (!this.#admits(head)) return;\n    this.head = head;\n    this.begun',
    replace: 'this.head = head;\n    this.begun',
    test: 'test/flow/response-rules.test.ts',
  },
  {
    guard: 'interim answers carry nothing past a rule on answers',
    file: 'src/proxy/h1-response.ts',
    find: 'if (!this.#gate.checksResponse) this.#down',
    replace: 'if (raw.length > 0) this.#down',
    test: 'test/flow/response-rules.test.ts',
  },
  {
    guard: 'an answer that has not begun is decided by the set in force',
    file: 'src/proxy/body-gate.ts',
    find: '    this.rules = rules;\n    this.allow = decision;',
    replace: '',
    test: 'test/flow/reload-flows.test.ts',
  },
  {
    guard: 'a reload looks at each stream of an HTTP/2 connection',
    file: 'src/proxy/h2-connection.ts',
    find: 'for (const exchange of this.#exchanges) exchange.onRules(rules);',
    replace: '',
    test: 'test/flow/reload-flows.test.ts',
  },
  {
    guard: 'an agent is told nothing of what rules let others do',
    file: 'src/policy/access.ts',
    find: 'parts.rules.filter((rule) => reader.concerns(rule))',
    replace: 'parts.rules.filter((rule) => rule.order >= 0 || reader.concerns(rule))',
    test: 'test/unit/policy/access.test.ts',
  },
  {
    guard: 'the proxy dials no port of the operator',
    file: 'src/upstream/address-guard.ts',
    find: 'operatorPorts?.has(port) === true &&',
    replace: 'operatorPorts?.has(-port) === true &&',
    test: 'test/property/24-operator-ports.test.ts',
  },
  {
    guard: 'the admin API on TCP asks for its token',
    file: 'src/admin/tcp-server.ts',
    find: 'if (token.isIn(headers.authorization)) return;',
    replace: 'if (token.isIn(headers.authorization) || hosts.size > 0) return;',
    test: 'test/unit/admin/tcp-server.test.ts',
  },
  {
    guard: 'the admin API on TCP answers under its own address alone',
    file: 'src/admin/tcp-server.ts',
    find: "if (!hosts.has((headers.host ?? '').toLowerCase())) {",
    replace: 'if (hosts.size === 0) {',
    test: 'test/unit/admin/tcp-server.test.ts',
  },
  {
    guard: 'a token that others may read is refused',
    file: 'src/admin/token.ts',
    find: '(mode & OTHERS_MAY) !== 0',
    replace: 'mode === 0',
    test: 'test/unit/admin/token.test.ts',
  },
  {
    guard: 'metrics without the lock are on loopback',
    file: 'src/daemon/operator-options.ts',
    find: 'if (!lock) found.push(',
    replace: 'if (!lock && port < 0) found.push(',
    test: 'test/unit/daemon/operator-options.test.ts',
  },
  {
    guard: 'a suggested pattern takes in no query that was not seen',
    file: 'src/policy/suggest-conditions.ts',
    find: ' && size(http.query) == 0',
    replace: '',
    test: 'test/unit/policy/suggest.test.ts',
  },
  {
    guard: 'a decision that hangs on a redacted value is not told as certain',
    file: 'src/policy/explain-query.ts',
    find: 'if (holes === 0)',
    replace: 'if (holes >= 0)',
    test: 'test/unit/policy/explain.test.ts',
  },
  {
    guard: 'an origin waits for an agent that does not read',
    file: 'src/proxy/h1-response.ts',
    find: 'if (!this.#connection.stream.write(bytes)) this.#exchange.pauseUpstream();',
    replace: 'this.#connection.stream.write(bytes);',
    test: 'test/flow/backpressure.test.ts',
  },
  {
    guard: 'a kept answer to a name is for the rule set that gave it',
    file: 'src/dns/answer-cache.ts',
    find: ' || entry.generation !== generation',
    replace: '',
    test: 'test/unit/dns/answer-cache.test.ts',
  },
];
