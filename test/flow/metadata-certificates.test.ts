/**
 * Certificates of many shapes before metadata rules, in TLS 1.2 and 1.3, through both doors. The witness of a refusal is
 * the origin: it saw a ClientHello and perhaps our own handshake, and not a byte inside either.
 */
import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ocspStaple } from '../kit/ocsp.ts';
import { type IssueOptions, type KeyPair, testCa } from '../kit/pki.ts';
import { DOORS, type MetadataScene, metadataRule, startMetadataScene, VERSIONS } from './metadata-scene.ts';

const HOUR_MS = 3_600_000;
const ca = testCa();
const stranger = testCa('Another CA');
const hour = (hours: number) => new Date(Date.now() + hours * HOUR_MS);
const anchors = { 'corp.pem': ca.certPem, 'other.pem': stranger.certPem };

const WAYS = DOORS.flatMap((way) => VERSIONS.map((maxVersion) => ({ way, maxVersion })));

/** What each way gave, and what came of it: the outcome must not depend on the way. */
async function throughEveryDoor(scene: MetadataScene): Promise<(number | string)[]> {
  const answers: (number | string)[] = [];
  for (const way of WAYS) answers.push(await scene.get(way).catch((error: Error) => alertIn(error)));
  return answers;
}

function alertIn(error: Error): string {
  return /alert (access denied|internal error)/i.exec(error.message)?.[1]?.toLowerCase() ?? error.message;
}

const all = <T>(value: T): T[] => WAYS.map(() => value);

interface Shape {
  readonly what: string;
  readonly issue: IssueOptions;
  /** The same but for one fact. */
  readonly twin: IssueOptions;
  readonly match: string;
  readonly detail: string;
}

const names = ['api.test'];
const SHAPES: readonly Shape[] = [
  {
    what: 'has expired',
    issue: { names, notBefore: hour(-9), notAfter: hour(-1) },
    twin: { names, notBefore: hour(-9), notAfter: hour(1) },
    match: 'server_san: { exact: [api.test] }',
    detail: 'expired',
  },
  {
    what: 'is not valid yet',
    issue: { names, notBefore: hour(1) },
    twin: { names, notBefore: hour(-1) },
    match: 'server_san: { exact: [api.test] }',
    detail: 'not_yet_valid',
  },
  {
    what: 'is for another name, which the rule would take',
    issue: { names: ['other.test'] },
    twin: { names: ['other.test', 'api.test'] },
    match: 'server_san: { exact: [other.test] }',
    detail: 'wrong_name',
  },
  {
    what: 'signed itself',
    issue: { names, selfSigned: true },
    twin: { names },
    match: 'server_san: { exact: [api.test] }',
    detail: 'self_signed',
  },
  {
    what: 'is for clients',
    issue: { names, clientAuth: true },
    twin: { names },
    match: 'server_cn: { exact: [api.test] }',
    detail: 'invalid_certificate',
  },
  {
    what: 'has a CN alone, of another host',
    issue: { names: ['other.test'], cnOnly: true },
    twin: { names, cnOnly: true },
    match: "server_cn: { regex: '.*' }",
    detail: 'wrong_name',
  },
];

describe('a certificate that', () => {
  it.each(SHAPES)(
    '$what is refused in TLS 1.2 and 1.3 through each door, and no byte gets out',
    async ({ issue, twin, match, detail }) => {
      await using bad = await startMetadataScene(metadataRule(match), { originCa: ca, certificate: ca.issue(issue) });
      expect(await throughEveryDoor(bad)).toEqual(all('internal error'));
      for (const _ of WAYS) {
        const record = await bad.proxy.nextRecord();
        expect(record).toMatchObject({
          verdict: 'failed',
          reason: 'certificate_unverified',
          detail,
          rule: 'api',
          bytes_up: 0,
        });
      }
      expect([bad.origin.bytes, bad.origin.heads.count]).toEqual([0, 0]);

      await using good = await startMetadataScene(metadataRule(match), { originCa: ca, certificate: ca.issue(twin) });
      expect(await throughEveryDoor(good)).toEqual(all(200));
      expect(good.origin.requests.count).toBe(WAYS.length);
    },
  );

  it.each([
    [
      'of the SAN',
      'server_san: { exact: [api.test] }',
      { names: ['api.test', 'www.test'] },
      { names: ['www.test'], cn: 'api.test' },
    ],
    [
      'of the SAN, by a pattern',
      "server_san: { regex: '.*\\.corp\\.test' }",
      { names: ['api.test', 'a.corp.test'] },
      { names: ['api.test', 'a.corp.test.evil'] },
    ],
    ['of the CN', 'server_cn: { exact: [The API] }', { names, cn: 'The API' }, { names, cn: 'Another' }],
    ['of the CN, which there must be', "server_cn: { regex: '.*' }", { names, cn: 'The API' }, { names, cn: '' }],
  ] as const)(
    'matches by the name %s passes, and one that verifies and does not match is blocked',
    async (_, match, right, wrong) => {
      await using good = await startMetadataScene(metadataRule(match), { originCa: ca, certificate: ca.issue(right) });
      expect(await throughEveryDoor(good)).toEqual(all(200));
      const covered = { ...wrong, names: [...new Set([...wrong.names, 'api.test'])] };
      const certificate = ca.issue(
        match.includes('api.test')
          ? { ...wrong, names: ['*.test', 'www.test'], cnOnly: true, cn: 'api.test' }
          : covered,
      );
      await using bad = await startMetadataScene(metadataRule(match), { originCa: ca, certificate });
      expect(await throughEveryDoor(bad)).toEqual(all('access denied'));
      expect(await bad.proxy.nextRecord()).toMatchObject({ verdict: 'block', rule: 'default', host: 'api.test' });
      expect(bad.origin.bytes).toBe(0);
    },
  );

  it('has a wildcard passes for a name that it covers, and not for one below that', async () => {
    const rule = `{ id: wild, condition: 'domain(http.host, "wild.test")', action: allow, egress: { tls: { server_san: { exact: ['*.wild.test'] } } } }`;
    const zone = { 'a.wild.test': '127.0.0.1', 'b.a.wild.test': '127.0.0.1' };
    const certificate = ca.issue({ names: ['*.wild.test'] });
    await using scene = await startMetadataScene(rule, { originCa: ca, certificate, zone });
    for (const maxVersion of VERSIONS) {
      expect(await scene.get({ host: 'a.wild.test', maxVersion })).toBe(200);
      await expect(scene.get({ host: 'b.a.wild.test', maxVersion })).rejects.toThrow(/internal error/);
    }
    expect(await scene.proxy.nextRecord(({ verdict }) => verdict === 'failed')).toMatchObject({ detail: 'wrong_name' });
    expect(scene.origin.requests.count).toBe(2);
  });

  it.each([
    ['a root', 'corp.pem', 'other.pem', ca.issue({ names })],
    ['an intermediate that it sends', 'corp.pem', 'other.pem', ca.intermediate('Lower').issue({ names })],
  ])(
    'leads to the anchor of the rule by %s passes, and under another anchor is refused, whatever else is trusted',
    async (_, right, wrong, certificate) => {
      const options = { originCa: ca, certificate, anchors };
      await using good = await startMetadataScene(metadataRule(`trust_anchors: [${right}]`), { ...options, trust: [] });
      expect(await throughEveryDoor(good)).toEqual(all(200));
      // The proxy trusts the origin's CA as it does the public ones; the anchors take their place.
      await using bad = await startMetadataScene(metadataRule(`trust_anchors: [${wrong}]`), options);
      expect(await throughEveryDoor(bad)).toEqual(all('internal error'));
      expect(await bad.proxy.nextRecord()).toMatchObject({ reason: 'certificate_unverified', detail: 'unknown_ca' });
      expect(bad.origin.bytes).toBe(0);
    },
  );

  it('signed itself passes where the rule names it as the anchor', async () => {
    const own = ca.issue({ names, selfSigned: true });
    const rule = metadataRule('trust_anchors: [own.pem]');
    await using good = await startMetadataScene(rule, {
      originCa: ca,
      certificate: own,
      anchors: { 'own.pem': own.certPem },
    });
    expect(await throughEveryDoor(good)).toEqual(all(200));
    const another = ca.issue({ names, selfSigned: true });
    await using bad = await startMetadataScene(rule, {
      originCa: ca,
      certificate: another,
      anchors: { 'own.pem': own.certPem },
    });
    expect(await throughEveryDoor(bad)).toEqual(all('internal error'));
    expect(bad.origin.bytes).toBe(0);
  });

  it('has the fingerprint of the rule passes, and another of the same CA and names is blocked', async () => {
    const [pinned, another] = [ca.issue({ names }), ca.issue({ names })];
    const rule = metadataRule(`fingerprint_sha256: ["${fingerprint(pinned)}"]`);
    await using good = await startMetadataScene(rule, { originCa: ca, certificate: pinned });
    expect(await throughEveryDoor(good)).toEqual(all(200));
    await using bad = await startMetadataScene(rule, { originCa: ca, certificate: another });
    expect(await throughEveryDoor(bad)).toEqual(all('access denied'));
    expect(bad.origin.bytes).toBe(0);
  });

  it('is said to be revoked by the response that the server staples is refused, and one said to be good passes', async () => {
    const certificate = ca.issue({ names, mustStaple: true });
    const of = (status: 'good' | 'revoked') => ocspStaple({ issuer: ca, certPem: certificate.certPem, status });
    const rule = metadataRule('server_san: { exact: [api.test] }');
    await using good = await startMetadataScene(rule, { originCa: ca, certificate, tls: { staple: of('good') } });
    expect(await throughEveryDoor(good)).toEqual(all(200));
    for (const [staple, detail] of [
      [of('revoked'), 'revoked'],
      [undefined, 'staple_missing'],
    ] as const) {
      await using bad = await startMetadataScene(rule, {
        originCa: ca,
        certificate,
        tls: staple === undefined ? {} : { staple },
      });
      expect(await throughEveryDoor(bad)).toEqual(all('internal error'));
      expect(await bad.proxy.nextRecord()).toMatchObject({ reason: 'certificate_unverified', detail });
      expect(bad.origin.bytes).toBe(0);
    }
  });

  it('says what a condition asks of tls.cert passes, and another is blocked', async () => {
    const condition =
      'http.host == "api.test" && "api.test" in tls.cert.san && tls.cert.issuer_cn == "Outcall test CA" && tls.cert.not_after > "2026"';
    const rule = `{ id: api, condition: '${condition}', action: allow, egress: { tls: { trust_anchors: [corp.pem, other.pem] } } }`;
    await using good = await startMetadataScene(rule, { originCa: ca, anchors });
    expect(await throughEveryDoor(good)).toEqual(all(200));
    await using bad = await startMetadataScene(rule, { originCa: stranger, anchors });
    expect(await throughEveryDoor(bad)).toEqual(all('access denied'));
    expect(bad.origin.bytes).toBe(0);
  });
});

describe('an origin that wants a client certificate', () => {
  it.each(VERSIONS)(
    'is verified all the same, and its client keeps its own session with it, in %s',
    async (maxVersion) => {
      const tls = { requireClientCert: ca, maxVersion };
      await using scene = await startMetadataScene(metadataRule('server_san: { exact: [api.test] }'), {
        originCa: ca,
        tls,
      });
      const client = ca.issue({ names: ['agent'], clientAuth: true });
      expect(await scene.get({ client })).toBe(200);
      await using wrong = await startMetadataScene(metadataRule('server_san: { exact: [else.test] }'), {
        originCa: ca,
        tls,
      });
      await expect(wrong.get({ client })).rejects.toThrow(/access denied/);
      expect(wrong.origin.bytes).toBe(0);
    },
  );
});

function fingerprint({ certPem }: KeyPair): string {
  return new X509Certificate(certPem).fingerprint256;
}
