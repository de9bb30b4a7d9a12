/**
 * The reader of a server's first flight, and of the certificates in it, on what real servers send: whole, at every
 * truncation, in records of every size, and mutated. Nothing makes them throw, and no cut changes what they read.
 */
import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { readCertificate } from '../../src/wire/certificate.ts';
import { readOcspResponse } from '../../src/wire/ocsp-response.ts';
import { type ServerFlight, ServerFlightReader } from '../../src/wire/server-flight.ts';
import { ocspStaple } from '../kit/ocsp.ts';
import { testCa } from '../kit/pki.ts';
import { recutHandshake, serverBytes } from '../kit/server-flight.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';

const ca = testCa();
const lower = ca.intermediate('Outcall test intermediate');
const leaf = lower.issue({ names: ['api.test', '*.wild.test', '192.0.2.7', '2001:db8::7'] });
const certificates = [
  ...[ca.certPem, leaf.certPem, ca.issue({ names: ['only.test'], cnOnly: true, key: 'rsa' }).certPem],
  ca.issue({ names: ['staple.test'], mustStaple: true, cn: '' }).certPem,
].map((pem) => new X509Certificate(pem));
const staples = (['good', 'revoked', 'unknown'] as const).map((status) =>
  ocspStaple({ issuer: ca, certPem: leaf.certPem, status, signer: ca.issue({ names: ['ocsp'], ocspSigning: true }) }),
);

interface Sample {
  readonly bytes: Buffer;
  readonly kind: ServerFlight['kind'];
}
const samples: Sample[] = [];

beforeAll(async () => {
  const client = { servername: 'api.test', ca: ca.certPem };
  const of = async (kind: ServerFlight['kind'], server: object, extra: object = {}) => {
    samples.push({
      kind,
      bytes: await serverBytes({ server: { ...leaf, ...server }, client: { ...client, ...extra } }),
    });
  };
  await of('certificate', { maxVersion: 'TLSv1.2' });
  await of(
    'certificate',
    { maxVersion: 'TLSv1.2', requestCert: true, rejectUnauthorized: false },
    { requestOCSP: true },
  );
  await of('hidden', {});
  await of('hidden', { ecdhCurve: 'P-384' }, { ecdhCurve: 'X25519:P-384' });
  await of('alert', { minVersion: 'TLSv1.3' }, { maxVersion: 'TLSv1.2' });
});

function read(bytes: Buffer, step = bytes.length): ServerFlight {
  const reader = new ServerFlightReader();
  let flight: ServerFlight = { kind: 'incomplete' };
  for (let at = 0; at < bytes.length; at += step) flight = reader.push(bytes.subarray(at, at + step));
  return flight;
}

describe('the first flight of a real server', () => {
  it('shows the chain that it was given in TLS 1.2, and hides it in TLS 1.3', () => {
    expect(samples.map(({ bytes }) => read(bytes).kind)).toEqual(samples.map(({ kind }) => kind));
    const chain = leaf.certPem
      .match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----/g)
      ?.map((pem) => new X509Certificate(pem).raw);
    expect(chain).toHaveLength(2);
    for (const { bytes } of samples.slice(0, 2)) expect(read(bytes)).toEqual({ kind: 'certificate', chain });
    expect(samples.slice(2, 4).map(({ bytes }) => read(bytes))).toEqual([
      { kind: 'hidden', why: 'tls13' },
      { kind: 'hidden', why: 'tls13_retry' },
    ]);
  });

  it('is the same in records and segments of any size, and incomplete until it is whole', () => {
    for (const { bytes } of samples) {
      const whole = read(bytes);
      for (let size = 1; size < 5_000; size = Math.ceil(size * 2.3)) {
        const cut = recutHandshake(bytes, size);
        if (whole.kind !== 'hidden') expect(read(cut, size)).toEqual(whole);
        expect(read(bytes, size)).toEqual(whole);
      }
      let answered = false;
      for (let end = 0; end < bytes.length; end++) {
        const { kind } = read(bytes.subarray(0, end));
        if (kind === 'incomplete') expect(answered).toBe(false);
        else expect(kind).toBe(whole.kind);
        answered ||= kind !== 'incomplete';
      }
    }
  });

  it(
    'mutated, never makes the reader throw, and reads the same in one piece and in many',
    () => {
      const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 });
      let seen = 0;
      fc.assert(
        fc.property(fc.nat(), changes, fc.integer({ min: 1, max: 900 }), (which, bytes, step) => {
          const input = Buffer.from((samples[which % samples.length] as Sample).bytes);
          for (const [at, value] of bytes) input[at % Math.min(input.length, 200)] = value;
          const flight = read(input);
          expect(read(input, step)).toEqual(flight);
          if (flight.kind === 'certificate') seen++;
        }),
        fuzzBudget(),
      );
      expect(seen).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('a certificate', () => {
  it('has the names and the serial number that OpenSSL reads', () => {
    for (const certificate of certificates) {
      const fields = readCertificate(certificate.raw);
      expect(fields?.serial.toString('hex').toUpperCase()).toBe(certificate.serialNumber);
      const names = (certificate.subjectAltName ?? '')
        .split(', ')
        .map((name) => name.replace(/^(DNS|IP Address):/, ''));
      expect(fields?.san).toEqual(names.filter(Boolean).map((name) => (name.includes(':') ? '2001:db8::7' : name)));
      const spki = certificate.publicKey.export({ format: 'der', type: 'spki' });
      expect(spki.subarray(-(fields?.publicKey.length ?? 0))).toEqual(fields?.publicKey);
    }
    expect(certificates.map(({ raw }) => readCertificate(raw)?.mustStaple)).toEqual([false, false, false, true]);
  });

  it(
    'mutated or cut short never makes the reader throw, and no staple does',
    () => {
      const inputs = [...certificates.map(({ raw }) => raw), ...staples];
      let kept = 0;
      fc.assert(
        fc.property(fc.nat(), fc.nat(), fc.nat({ max: 255 }), fc.nat(), (which, at, value, cut) => {
          const source = inputs[which % inputs.length] as Buffer;
          const input = Buffer.from(cut % 3 === 0 ? source.subarray(0, cut % source.length) : source);
          if (input.length > 0) input[at % input.length] = value;
          const [certificate, staple] = [readCertificate(input), readOcspResponse(input)];
          if (input.length < source.length) expect([certificate, staple]).toEqual([undefined, undefined]);
          else if (certificate !== undefined || staple !== undefined) kept++;
        }),
        fuzzBudget(),
      );
      expect(kept).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});
