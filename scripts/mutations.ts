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
    guard: 'nothing of the client but its ClientHello passes before the certificate has been judged',
    file: 'src/proxy/metadata.ts',
    find: 'const hello = bytes.subarray(0, request.hello.bytes);',
    replace: 'const hello = bytes.subarray(0);',
    test: 'test/flow/metadata-certificates.test.ts',
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
];
