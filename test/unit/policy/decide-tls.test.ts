/**
 * Metadata rules: what egress.tls and tls.* names make of a ClientHello and of a certificate, in the order in which they
 * are seen, and what is done where one of them never is.
 */
import { describe, expect, it } from 'vitest';
import type { CertificateFacts } from '../../../src/domain/facts.ts';
import { testCa } from '../../kit/pki.ts';
import { connect, INTERCEPT, request, ruleSetOf, rulesOf } from './kit.ts';
import { CERTIFICATE, FINGERPRINT, HOST, hello, metadata, steps, told } from './tls-kit.ts';

describe('egress.tls.sni', () => {
  const rules = ruleSetOf(
    metadata(
      { sni: { exact: ['API.a.com'], regex: '(x|y)\\.b\\.com' } },
      { condition: 'cidr(network.ip, "192.0.2.0/24")' },
    ),
  );
  const at = (sni: string) => steps(rules, hello({ sni }, '192.0.2.7'), undefined);

  it('matches whole names in any case, and a rule that does not match leaves the rest to the next', () => {
    for (const sni of ['api.a.com', 'x.b.com', 'Y.B.COM']) expect(at(sni)).toEqual(['provisional', 'allow rule-0']);
    for (const sni of ['xapi.a.com', 'api.a.com.evil', 'z.b.com', 'x.b.com.evil', 'xxbxcom', 'wx.b.com'])
      expect(at(sni)).toEqual(['provisional', 'block default (default)']);
    const two = ruleSetOf(metadata({ sni: { exact: ['other.a.com'] } }), { condition: HOST });
    expect(steps(two, hello(), undefined)).toEqual(['provisional', 'allow rule-1']);
    expect(steps(two, hello({}, 'other.a.com'), undefined)).toEqual(['block default (default)']);
  });

  it('is not matched by no name, even where the expression matches the empty one', () => {
    const any = ruleSetOf(metadata({ sni: { regex: '.*' } }));
    expect(steps(any, hello({ sni: '' }), undefined)).toEqual(['provisional', 'block default (default)']);
    expect(steps(any, hello({ sni: 'api.a.com' }), undefined)).toEqual(['provisional', 'allow rule-0']);
  });

  it('is told to the door with the verdict, as are the two exceptions', () => {
    const grantOf = (tls: Readonly<Record<string, unknown>>) => {
      const verdict = ruleSetOf(metadata(tls)).decideHello(hello());
      return verdict.action === 'allow' ? verdict.grant.tls : verdict;
    };
    expect(grantOf({ sni: { exact: ['api.a.com'] } })).toEqual({ sniAbsent: false, ech: false, matchesSni: true });
    expect(grantOf({ sni_absent: 'allow' })).toEqual({ sniAbsent: true, ech: false, matchesSni: false });
    expect(grantOf({ ech: 'allow', sni_absent: 'deny' })).toEqual({ sniAbsent: false, ech: true, matchesSni: false });
    expect(ruleSetOf({ condition: HOST }).decideConnect(hello())).toMatchObject({ grant: { tls: undefined } });
  });
});

describe('certificate matchers', () => {
  const cases: readonly (readonly [string, Readonly<Record<string, unknown>>, Partial<CertificateFacts>])[] = [
    ['server_san', { server_san: { exact: ['API.A.COM'] } }, { san: ['www.a.com'] }],
    ['server_san by pattern', { server_san: { regex: '.*\\.cdn\\.a\\.com' } }, { san: ['cdn.a.com'] }],
    ['an address in server_san', { server_san: { exact: ['192.0.2.1'] } }, { san: ['192.0.2.11'] }],
    ['server_cn', { server_cn: { exact: ['api.a.com'] } }, { subjectCn: 'www.a.com' }],
    ['server_cn that is not there', { server_cn: { regex: '.*' } }, { subjectCn: '' }],
    ['fingerprint_sha256', { fingerprint_sha256: [FINGERPRINT] }, { fingerprintSha256: 'cd'.repeat(32) }],
    ['two of them', { server_cn: { exact: ['api.a.com'] }, server_san: { exact: ['api.a.com'] } }, { san: [] }],
  ];

  it.each(cases)('ask for the certificate and decide by it: %s', (_, tls, changed) => {
    const rules = ruleSetOf(metadata(tls));
    expect(steps(rules, hello(), CERTIFICATE)).toEqual(['provisional', 'need_certificate rule-0', 'allow rule-0']);
    const other = { ...CERTIFICATE, ...changed };
    expect(steps(rules, hello(), other).at(-1)).toBe('block default (default)');
  });

  it.each([
    ['with colons', FINGERPRINT.toUpperCase().replace(/..(?=.)/g, '$&:')],
    ['as openssl prints it', `sha256 Fingerprint=${FINGERPRINT.toUpperCase().replace(/..(?=.)/g, '$&:')}`],
    ['with a prefix', `SHA256:${FINGERPRINT}`],
    ['with spaces', FINGERPRINT.replace(/..(?=.)/g, '$& ')],
  ])('take a fingerprint in any usual spelling: %s', (_, text) => {
    const rules = ruleSetOf(metadata({ fingerprint_sha256: ['00'.repeat(32), text] }));
    expect(steps(rules, hello(), CERTIFICATE).at(-1)).toBe('allow rule-0');
    expect(steps(rules, hello(), { ...CERTIFICATE, fingerprintSha256: 'ac'.repeat(32) }).at(-1)).toMatch(/^block/);
  });

  it('match nothing that does not hold under the roots of the rule', () => {
    const rules = ruleSetOf(metadata({ fingerprint_sha256: [FINGERPRINT] }));
    expect(steps(rules, hello(), { ...CERTIFICATE, validUnder: [] }).at(-1)).toBe('block default (default)');
    expect(steps(rules, hello(), { ...CERTIFICATE, validUnder: [''] }).at(-1)).toBe('allow rule-0');
  });

  it('leave a hello that cannot match alone: nothing is dialled to see a certificate', () => {
    const rules = ruleSetOf(metadata({ sni: { exact: ['b.com'] }, server_cn: { exact: ['b.com'] } }));
    expect(steps(rules, hello(), CERTIFICATE)).toEqual(['provisional', 'block default (default)']);
    const blocked = ruleSetOf({ condition: `${HOST} && tls.cert.issuer_cn == "Bad"`, action: 'block' });
    expect(steps(blocked, hello(), CERTIFICATE)).toEqual(['block default (default)']);
    const refusedAfter = ruleSetOf(
      { condition: `${HOST} && tls.cert.issuer_cn == "Bad"`, action: 'block' },
      { condition: `${HOST} && tls.version == "1.3"`, action: 'block' },
      { condition: HOST },
    );
    expect(steps(refusedAfter, hello(), CERTIFICATE)).toEqual(['provisional', 'block rule-1 (rule)']);
  });
});

describe('tls13_uninspectable', () => {
  const of = (tls13: string | undefined, more: Readonly<Record<string, unknown>> = {}) =>
    ruleSetOf(
      metadata({
        server_cn: { exact: ['api.a.com'] },
        ...(tls13 === undefined ? {} : { tls13_uninspectable: tls13 }),
        ...more,
      }),
    );

  it('is told to the door, and is probe where the rule does not say', () => {
    for (const tls13 of ['probe', 'deny', 'allow'])
      expect(of(tls13).decideHello(hello())).toMatchObject({ action: 'need_certificate', tls13 });
    expect(of(undefined).decideHello(hello())).toMatchObject({ tls13: 'probe', trustSets: [{ id: '', anchors: [] }] });
  });

  it('decides what a certificate that cannot be seen is: no match, a block, a match', () => {
    expect(steps(of('probe'), hello(), undefined).at(-1)).toBe('block default (default)');
    expect(steps(of('deny'), hello(), undefined).at(-1)).toBe('block rule-0 (error)');
    expect(steps(of('allow'), hello(), undefined).at(-1)).toBe('allow rule-0');
    expect(of('deny').decideCertificate(hello(), undefined)).toMatchObject({
      reason: "rule rule-0: TLS 1.3 hides the server's certificate",
    });
  });

  it('changes nothing where the certificate is seen, or where the hello does not match', () => {
    for (const tls13 of ['probe', 'deny', 'allow']) {
      expect(steps(of(tls13), hello(), CERTIFICATE).at(-1)).toBe('allow rule-0');
      expect(steps(of(tls13), hello(), { ...CERTIFICATE, subjectCn: 'b.com' }).at(-1)).toMatch(/^block default/);
      expect(steps(of(tls13, { sni: { exact: ['b.com'] } }), hello(), undefined).at(-1)).toMatch(/^block default/);
    }
  });
});

describe('egress.tls.trust_anchors', () => {
  const pems = new Map(['one.pem', 'two.pem'].map((name) => [name, testCa(name).certPem]));
  const file = (list: string) =>
    `version: "1"\nrules:\n  - id: r\n    condition: '${HOST}'\n    action: allow\n    egress: { tls: { trust_anchors: ${list} } }\n`;

  it("stand in place of the system's roots, and their order does not matter", () => {
    const rules = rulesOf(file('[two.pem, one.pem]'), { anchors: pems });
    const asked = rules.decideHello(hello());
    if (asked.action !== 'need_certificate') throw new Error('no certificate is asked for');
    expect(asked.trustSets).toEqual([{ id: expect.stringMatching(/./), anchors: [...pems.values()] }]);
    const other = rulesOf(file('[one.pem, two.pem]'), { anchors: pems }).decideHello(hello());
    expect(other).toEqual(asked);
    const { id } = asked.trustSets[0] as { id: string };
    const under = (...validUnder: string[]) => told(rules.decideCertificate(hello(), { ...CERTIFICATE, validUnder }));
    expect(under('')).toBe('block default (default)');
    expect(under('one.pem', `${id}x`)).toBe('block default (default)');
    expect(under('', id)).toBe('allow r');
  });
});

describe('tls.* in conditions', () => {
  it.each([
    ['tls.version == "1.3"', hello({ version: '1.2' })],
    ['"h2" in tls.alpn', hello({ alpn: ['http/1.1'] })],
    ['tls.alpn.exists(p, p.startsWith("h2"))', hello({ alpn: [] })],
  ])('are known after the ClientHello: %s', (condition, other) => {
    const rules = ruleSetOf({ condition: `${HOST} && ${condition}` });
    expect(steps(rules, hello(), undefined)).toEqual(['provisional', 'allow rule-0']);
    expect(steps(rules, other, undefined)).toEqual(['provisional', 'block default (default)']);
  });

  it.each([
    ['tls.cert.subject_cn == "api.a.com"', { subjectCn: '' }],
    ['"*.cdn.a.com" in tls.cert.san', { san: [] }],
    ['tls.cert.issuer_cn.endsWith(" CA")', { issuerCn: 'Some RA' }],
    [`tls.cert.fingerprint_sha256 == "${FINGERPRINT}"`, { fingerprintSha256: 'cd'.repeat(32) }],
    ['tls.cert.not_after > "2027"', { notAfter: Date.UTC(2026, 11, 31) }],
  ])('are known with the certificate, which has to be valid too: %s', (condition, changed) => {
    const rules = ruleSetOf({ condition: `${HOST} && ${condition}` });
    const last = (certificate: CertificateFacts | undefined) => steps(rules, hello(), certificate).slice(1);
    expect(last(CERTIFICATE)).toEqual(['need_certificate rule-0', 'allow rule-0']);
    expect(last({ ...CERTIFICATE, ...changed }).at(-1)).toBe('block default (default)');
    expect(last({ ...CERTIFICATE, validUnder: [] }).at(-1)).toBe('block default (default)');
    expect(last(undefined).at(-1)).toBe('block default (default)');
  });

  it('block by a block rule, which a certificate that cannot be seen makes block too', () => {
    const rules = ruleSetOf(
      { condition: `${HOST} && tls.cert.issuer_cn == "Bad CA"`, action: 'block' },
      { condition: HOST },
    );
    const last = (certificate: CertificateFacts | undefined) => steps(rules, hello(), certificate).slice(1);
    expect(last(CERTIFICATE)).toEqual(['need_certificate rule-0', 'allow rule-1']);
    expect(last({ ...CERTIFICATE, issuerCn: 'Bad CA' }).at(-1)).toBe('block rule-0 (rule)');
    expect(last({ ...CERTIFICATE, issuerCn: 'Bad CA', validUnder: [] }).at(-1)).toBe('block rule-0 (rule)');
    expect(last(undefined).at(-1)).toBe('block rule-0 (error)');
  });

  it('are not waited for where the rest of the condition decides', () => {
    const rules = ruleSetOf(
      { condition: `${HOST} && network.port == 80 && tls.cert.issuer_cn == "x"`, action: 'block' },
      { condition: HOST },
    );
    expect(steps(rules, hello(), undefined)).toEqual(['allow rule-1']);
    expect(steps(rules, { ...hello(), port: 80 }, undefined)).toEqual([
      'provisional',
      'need_certificate rule-0',
      'block rule-0 (error)',
    ]);
  });

  it('are empty for plain HTTP, and errors in a request whose ClientHello nobody kept', () => {
    const old = { condition: `${HOST} && tls.version == "1.2"`, action: 'block' } as const;
    const rules = ruleSetOf(old, { condition: HOST, egress: INTERCEPT });
    const asked = (more: object) => told(rules.decideRequest(request('api.a.com', more)) as never);
    expect(asked({ tls: hello().tls })).toBe('allow rule-1');
    expect(asked({ tls: hello({ version: '1.2' }).tls })).toBe('block rule-0 (rule)');
    expect(asked({})).toBe('block rule-0 (error)');
    expect(asked({ scheme: 'http' })).toBe('allow rule-1');
    expect(steps(rules, hello({ version: '1.2' }), undefined)).toEqual(['provisional', 'block rule-0 (rule)']);
  });
});

describe('a metadata rule', () => {
  const sni = metadata({ sni: { exact: ['api.a.com'] } });

  it('never allows a request, decrypted or plain, nor any but TLS', () => {
    const rules = ruleSetOf(metadata({ server_cn: { exact: ['b.com'] } }), {
      condition: `${HOST} && http.method == "GET"`,
      egress: INTERCEPT,
    });
    expect(steps(rules, hello(), CERTIFICATE)).toEqual(['provisional', 'need_certificate rule-0', 'allow rule-1']);
    expect(rules.decideCertificate(hello(), CERTIFICATE)).toMatchObject({ grant: { mode: 'intercept' } });
    expect(told(rules.decideRequest(request('api.a.com')) as never)).toBe('allow rule-1');
    expect(told(rules.decideRequest(request('api.a.com', { method: 'POST' })) as never)).toBe(
      'block default (default)',
    );
    expect(told(ruleSetOf(sni).decideRequest(request('api.a.com', { scheme: 'http' })) as never)).toMatch(/^block/);
    expect(
      told(ruleSetOf({ condition: HOST }).decideRequest(request('api.a.com', { scheme: 'http' })) as never),
    ).toMatch(/^allow/);
  });

  it('resolves its name, mints nothing, and grants its ports', () => {
    const rules = ruleSetOf(
      metadata(
        { sni: { exact: ['api.a.com'] } },
        { egress: { ports: [8443], tls: { sni: { exact: ['api.a.com'] } } } },
      ),
    );
    const { agent, host } = connect('api.a.com');
    expect(told(rules.decideName({ agent, host, recordType: 'A' }))).toBe('allow rule-0');
    expect(rules.namedPorts({ agent, host })).toEqual([8443]);
    expect([rules.hasIntercept, rules.couldIntercept(host)]).toEqual([false, false]);
    expect(rules.decideConnect(connect('api.a.com')).action).toBe('block');
    expect(rules.decideConnect(connect('api.a.com', { port: 8443 }))).toMatchObject({ provisional: true });
  });

  it('is provisional with the most that a rule after it grants, and final with its own', () => {
    const rules = ruleSetOf(sni, { condition: HOST, egress: { allow_private_ips: true } });
    expect(rules.decideConnect(hello())).toMatchObject({ provisional: true, grant: { allowPrivateIps: true } });
    expect(rules.decideHello(hello())).toMatchObject({
      ruleId: 'rule-0',
      provisional: false,
      grant: { allowPrivateIps: false },
    });
    expect(rules.decideHello(hello({ sni: 'b.com' }))).toMatchObject({
      ruleId: 'rule-1',
      grant: { allowPrivateIps: true },
    });
  });

  it('that only grants exceptions is a tunnel rule like any other', () => {
    const rules = ruleSetOf(metadata({ sni_absent: 'allow' }));
    expect(rules.decideConnect(hello())).toMatchObject({
      action: 'allow',
      provisional: false,
      grant: { tls: { sniAbsent: true } },
    });
  });
});

describe('a connection without metadata rules', () => {
  it('is decided once: nothing is provisional, and the later steps say the same', () => {
    const rules = ruleSetOf(
      { condition: `${HOST} && http.path.startsWith("/a")`, egress: INTERCEPT },
      { condition: 'domain(http.host, "a.com")' },
    );
    for (const host of ['api.a.com', 'x.a.com', 'b.com']) {
      const first = rules.decideConnect(hello({}, host));
      expect(first).not.toMatchObject({ provisional: true });
      expect(rules.decideHello(hello({}, host))).toEqual(first);
      expect(rules.decideCertificate(hello({}, host), undefined)).toEqual(first);
    }
  });
});
