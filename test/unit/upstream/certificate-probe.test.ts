import { X509Certificate } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import type { TrustSet } from '../../../src/domain/verdict.ts';
import type { CertificateAnswer } from '../../../src/upstream/certificate-probe.ts';
import { ocspStaple, TRY_LATER } from '../../kit/ocsp.ts';
import { type Origin, type OriginTls, startOrigin } from '../../kit/origin.ts';
import { type IssueOptions, type KeyPair, testCa } from '../../kit/pki.ts';
import { cidrs, failureOf, requestFor, TestClock, testUpstream } from './support.ts';

const HOUR_MS = 3_600_000;
const ca = testCa();
const lower = ca.intermediate('Outcall test intermediate');
const stranger = testCa('Another CA');
const hour = (hours: number) => new Date(Date.now() + hours * HOUR_MS);

const SYSTEM: TrustSet = { id: '', anchors: [] };
const under = (id: string, ...anchors: string[]): TrustSet => ({ id, anchors });
const CORP = under('corp', ca.certPem);

interface Asking {
  readonly trustSets?: readonly TrustSet[];
  readonly shown?: KeyPair;
  readonly name?: string;
}

const clock = new TestClock();
// Each test has its own: what was seen is kept by address and port, and the system may give a port again.
let upstream: ReturnType<typeof testUpstream>;
beforeEach(() => {
  upstream = testUpstream({ upstreamCaPem: [ca.certPem], clock });
});
afterEach(() => upstream.close());

function ask(
  origin: Origin,
  { trustSets = [SYSTEM], shown, name = 'api.test' }: Asking = {},
): Promise<CertificateAnswer> {
  return upstream.certificateOf({
    origin: requestFor('api.test', origin.port),
    address: '127.0.0.1',
    name: name as Host,
    trustSets,
    shown: shown === undefined ? undefined : new X509Certificate(shown.certPem).raw,
  });
}

function originOf(certificate: KeyPair, tls: Partial<OriginTls> = {}): Promise<Origin> {
  return startOrigin({ tls: { ca, names: [], certificate, ...tls } });
}

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;

describe('the certificate of an origin', () => {
  const good = ca.issue({ names: ['api.test', '*.wild.test', '127.0.0.1'], cn: 'The API' });

  it.each(VERSIONS)(
    'is told with its names, its issuer, its fingerprint and its end in %s, and costs no byte of application data',
    async (maxVersion) => {
      await using origin = await originOf(good, { maxVersion });
      const { facts, problem } = await ask(origin);
      const x509 = new X509Certificate(good.certPem);
      expect(facts).toEqual({
        subjectCn: 'The API',
        san: ['api.test', '*.wild.test', '127.0.0.1'],
        issuerCn: 'Outcall test CA',
        fingerprintSha256: x509.fingerprint256.replaceAll(':', '').toLowerCase(),
        notAfter: x509.validToDate.getTime(),
        validUnder: [''],
      });
      expect(problem).toBeUndefined();
      expect((await origin.secured.next()).sni).toBe('api.test');
      expect([origin.connections, origin.bytes]).toEqual([1, 0]);
    },
  );

  const BAD: readonly (readonly [string, IssueOptions, string])[] = [
    ['expired', { names: ['api.test'], notBefore: hour(-48), notAfter: hour(-1) }, 'expired'],
    ['not valid yet', { names: ['api.test'], notBefore: hour(1) }, 'not_yet_valid'],
    ['for another name', { names: ['other.test'] }, 'wrong_name'],
    ['for all names of a top-level domain', { names: ['*.test'] }, 'wrong_name'],
    ['for the names below it', { names: ['*.api.test'] }, 'wrong_name'],
    ['without alternative names, the CN fitting', { names: ['api.test'], cnOnly: true }, 'valid'],
    ['without alternative names, the CN another', { names: ['other.test'], cnOnly: true }, 'wrong_name'],
    ['signed by itself', { names: ['api.test'], selfSigned: true }, 'self_signed'],
    ['for clients', { names: ['api.test'], clientAuth: true }, 'invalid_certificate'],
  ];
  it.each(BAD.flatMap((bad) => VERSIONS.map((version) => [...bad, version] as const)))(
    'that is %s (%o) is seen, and %s, in %s',
    async (_, options, expected, maxVersion) => {
      const certificate = ca.issue(options);
      await using origin = await originOf(certificate, { maxVersion });
      const { facts, problem } = await ask(origin);
      expect(problem ?? 'valid').toBe(expected);
      expect(facts.validUnder).toEqual(expected === 'valid' ? [''] : []);
      expect(facts.fingerprintSha256).toBe(fingerprint(certificate));
    },
  );

  it('with a wildcard is valid for one label in its place, and not for two', async () => {
    await using origin = await originOf(ca.issue({ names: ['*.api.test'] }));
    expect((await ask(origin, { name: 'v1.api.test' })).facts).toMatchObject({ san: ['*.api.test'], validUnder: [''] });
    expect((await ask(origin, { name: 'a.v1.api.test' })).problem).toBe('wrong_name');
  });

  it('is valid under the anchors that it leads to and no others; anchors take the place of the roots', async () => {
    const deep = lower.issue({ names: ['api.test'] });
    await using origin = await originOf(deep);
    const sets = [under('wrong', stranger.certPem), SYSTEM, CORP, under('intermediate', lower.certPem)];
    const { facts, problem } = await ask(origin, { trustSets: sets });
    expect(facts.validUnder).toEqual(['', 'corp', 'intermediate']);
    expect(problem).toBeUndefined();
    expect((await ask(origin, { trustSets: sets.slice(0, 1) })).problem).toBe('unknown_ca');
    await using foreign = await originOf(stranger.issue({ names: ['api.test'] }));
    expect((await ask(foreign)).problem).toBe('unknown_ca');
    expect((await ask(foreign, { trustSets: sets })).facts.validUnder).toEqual(['wrong']);
  });

  it('that signed itself is valid where it is the anchor', async () => {
    const own = ca.issue({ names: ['api.test'], selfSigned: true });
    await using origin = await originOf(own);
    expect((await ask(origin, { trustSets: [under('pin', own.certPem)] })).facts.validUnder).toEqual(['pin']);
    expect((await ask(origin)).facts.validUnder).toEqual([]);
  });

  it.each(VERSIONS)('is seen and verified in %s where the origin wants one of the client first', async (maxVersion) => {
    await using origin = await originOf(good, { maxVersion, requireClientCert: ca });
    expect((await ask(origin)).facts.validUnder).toEqual(['']);
    await using wrong = await originOf(ca.issue({ names: ['other.test'] }), { maxVersion, requireClientCert: ca });
    expect((await ask(wrong)).problem).toBe('wrong_name');
    expect([origin.bytes, wrong.bytes]).toEqual([0, 0]);
  });
});

describe('a stapled OCSP response', () => {
  const leaf = ca.issue({ names: ['api.test'] });
  const must = ca.issue({ names: ['api.test'], mustStaple: true });
  const responder = ca.issue({ names: ['ocsp.test'], ocspSigning: true });
  const notResponder = ca.issue({ names: ['ocsp.test'] });
  const about = (certPem: string, extra: object = {}) => ocspStaple({ issuer: ca, certPem, ...extra });

  it.each([
    ['says good', leaf, about(leaf.certPem), 'valid'],
    ['says revoked', leaf, about(leaf.certPem, { status: 'revoked' }), 'revoked'],
    [
      'says revoked, though nobody we know signed it',
      leaf,
      about(leaf.certPem, { status: 'revoked', signer: notResponder }),
      'revoked',
    ],
    ['says that another was revoked', leaf, about(must.certPem, { status: 'revoked' }), 'valid'],
    ['is not one', leaf, Buffer.from('nonsense'), 'staple_malformed'],
    ['has no answer', leaf, TRY_LATER, 'valid'],
    ['is old', leaf, about(leaf.certPem, { nextUpdate: hour(-1), thisUpdate: hour(-2) }), 'valid'],
    ['is demanded and says good', must, about(must.certPem), 'valid'],
    ['is demanded and says good by a delegate', must, about(must.certPem, { signer: responder }), 'valid'],
    ['is demanded and says revoked', must, about(must.certPem, { status: 'revoked' }), 'revoked'],
    ['is demanded and not there', must, undefined, 'staple_missing'],
    ['is demanded and has no answer', must, TRY_LATER, 'staple_missing'],
    ['is demanded and does not know', must, about(must.certPem, { status: 'unknown' }), 'staple_missing'],
    [
      'is demanded and old',
      must,
      about(must.certPem, { nextUpdate: hour(-1), thisUpdate: hour(-2) }),
      'staple_missing',
    ],
    [
      'is demanded and of days to come',
      must,
      about(must.certPem, { thisUpdate: hour(48), nextUpdate: hour(72) }),
      'staple_missing',
    ],
    ['is demanded and about another', must, about(leaf.certPem), 'staple_missing'],
    ['is demanded and signed by no responder', must, about(must.certPem, { signer: notResponder }), 'staple_missing'],
  ])('that %s', async (_, certificate, staple, expected) => {
    for (const maxVersion of VERSIONS) {
      await using origin = await originOf(certificate, { maxVersion, ...(staple === undefined ? {} : { staple }) });
      const { facts, problem } = await ask(origin);
      expect([maxVersion, problem ?? 'valid', facts.validUnder.length]).toEqual([
        maxVersion,
        expected,
        expected === 'valid' ? 1 : 0,
      ]);
    }
  });
});

describe('a certificate that was shown in TLS 1.2', () => {
  const ec = ca.issue({ names: ['api.test'] });
  const rsa = ca.issue({ names: ['api.test'], key: 'rsa' });

  it('is the one that is verified, whichever kind the origin would rather show', async () => {
    await using origin = await originOf(ec);
    origin.present(ec);
    expect((await ask(origin, { shown: ec })).facts.validUnder).toEqual(['']);
    await using other = await originOf(rsa);
    expect((await ask(other, { shown: rsa })).facts.fingerprintSha256).toBe(fingerprint(rsa));
  });

  it('is not believed where our own handshakes are shown another, and is once they are shown the same', async () => {
    const [before, after] = [ca.issue({ names: ['api.test'] }), ca.issue({ names: ['api.test'] })];
    await using origin = await originOf(after);
    expect(await failureOf(ask(origin, { shown: before }))).toMatch(/^certificate_changed/);
    expect(origin.connections).toBe(2);
    origin.present(before);
    expect((await ask(origin, { shown: before })).facts.validUnder).toEqual(['']);
  });

  it('that is no certificate is a failure, and not asked for', async () => {
    await using origin = await originOf(ec);
    const shown = Buffer.from('nonsense');
    const question = { origin: requestFor('api.test', origin.port), address: '127.0.0.1', name: 'api.test' as Host };
    expect(await failureOf(upstream.certificateOf({ ...question, trustSets: [SYSTEM], shown }))).toBe(
      'upstream_handshake_failed: invalid_certificate',
    );
    expect(origin.connections).toBe(0);
  });
});

describe('what was seen', () => {
  const first = ca.issue({ names: ['api.test', 'second.test'] });
  let origin: Origin;
  beforeAll(async () => {
    origin = await originOf(first);
  });
  afterAll(() => origin[Symbol.asyncDispose]());

  it('is asked for once by all who ask at a time, and again after a minute, for another name, or under other anchors', async () => {
    await Promise.all([ask(origin), ask(origin), ask(origin)]);
    await ask(origin);
    expect(origin.connections).toBe(1);
    await ask(origin, { name: 'second.test' });
    expect(origin.connections).toBe(2);
    await ask(origin, { trustSets: [CORP] });
    expect(origin.connections).toBe(3);
    clock.advance(60_001);
    await ask(origin);
    expect(origin.connections).toBe(4);
  });

  it('is not kept where it did not verify', async () => {
    await using bad = await originOf(ca.issue({ names: ['other.test'] }));
    await ask(bad);
    bad.present(first);
    expect((await ask(bad)).facts.validUnder).toEqual(['']);
    expect(bad.connections).toBe(2);
  });

  it('is nothing at an address that the grant does not admit', async () => {
    using narrow = testUpstream({ allowPrivate: cidrs(), upstreamCaPem: [ca.certPem] });
    const question = { address: '127.0.0.1', name: 'api.test' as Host, trustSets: [SYSTEM], shown: undefined };
    const failing = narrow.certificateOf({ ...question, origin: requestFor('api.test', origin.port) });
    expect(await failureOf(failing)).toMatch(/^address_refused/);
  });
});

function fingerprint({ certPem }: KeyPair): string {
  return new X509Certificate(certPem).fingerprint256.replaceAll(':', '').toLowerCase();
}
