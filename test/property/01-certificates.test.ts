/**
 * Property 1 where rules ask for the server's certificate: whatever the certificate, the version and the door, a tunnel
 * opens exactly where it verifies under the rule's roots and matches; everywhere else the origin gets no byte inside TLS.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DOORS, metadataRule, startMetadataScene, VERSIONS } from '../flow/metadata-scene.ts';
import { testCa } from '../kit/pki.ts';

const HOUR_MS = 3_600_000;
const RUNS = 30;
const ours = testCa();
const theirs = testCa('Another CA');
const anchors = { 'ours.pem': ours.certPem, 'theirs.pem': theirs.certPem };

const certificates = fc.record({
  names: fc.uniqueArray(fc.constantFrom('api.test', 'other.test', '*.test.test', '127.0.0.1'), { minLength: 1 }),
  ageHours: fc.constantFrom(-2, 1, 48),
  lifeHours: fc.constantFrom(1, 100),
  issuer: fc.constantFrom('ours', 'theirs', 'itself'),
  key: fc.constantFrom('ec', 'rsa'),
});
const rules = fc.record({
  san: fc.constantFrom('api.test', 'other.test'),
  anchor: fc.constantFrom('ours.pem', 'theirs.pem', undefined),
});

it('a tunnel opens where the certificate verifies and matches, and nowhere else, by each version and door', async () => {
  const seen = new Set<number | string>();
  await fc.assert(
    fc.asyncProperty(
      certificates,
      rules,
      fc.constantFrom(...VERSIONS),
      fc.constantFrom(...DOORS),
      async (certificate, rule, maxVersion, way) => {
        const notBefore = new Date(Date.now() - certificate.ageHours * HOUR_MS);
        const notAfter = new Date(notBefore.getTime() + certificate.lifeHours * HOUR_MS + HOUR_MS / 2);
        const options = { names: certificate.names, key: certificate.key, notBefore, notAfter } as const;
        const issued = (certificate.issuer === 'theirs' ? theirs : ours).issue({
          ...options,
          selfSigned: certificate.issuer === 'itself',
        });
        const inForce = notBefore.getTime() <= Date.now() && Date.now() < notAfter.getTime();
        // What the proxy trusts beside the public CAs is ours.
        const trusted = (rule.anchor ?? 'ours.pem') === `${certificate.issuer}.pem`;
        const named = certificate.names.includes('api.test') && certificate.names.includes(rule.san);
        const match = `server_san: { exact: [${rule.san}] }${rule.anchor === undefined ? '' : `, trust_anchors: [${rule.anchor}]`}`;
        await using scene = await startMetadataScene(metadataRule(match), {
          originCa: ours,
          certificate: issued,
          anchors,
        });
        const got = await scene.get({ maxVersion, way }).catch(() => 'refused');
        expect(got).toBe(inForce && trusted && named ? 200 : 'refused');
        if (got === 'refused') expect(scene.origin.bytes).toBe(0);
        seen.add(got);
      },
    ),
    {
      numRuns: RUNS,
      // One of each outcome, whatever chance brings.
      examples: [
        [
          { names: ['api.test'], ageHours: 1, lifeHours: 100, issuer: 'ours', key: 'rsa' },
          { san: 'api.test', anchor: undefined },
          'TLSv1.2',
          'CONNECT',
        ],
        [
          { names: ['api.test'], ageHours: 1, lifeHours: 100, issuer: 'theirs', key: 'ec' },
          { san: 'api.test', anchor: 'theirs.pem' },
          'TLSv1.3',
          'transparent',
        ],
        [
          { names: ['api.test'], ageHours: 48, lifeHours: 1, issuer: 'ours', key: 'ec' },
          { san: 'api.test', anchor: 'ours.pem' },
          'TLSv1.3',
          'CONNECT',
        ],
      ],
    },
  );
  expect(seen).toEqual(new Set([200, 'refused']));
}, 60_000);
