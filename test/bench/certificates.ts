// Keys and certificates of one bench run, made by the openssl command: a CA for the origin, two CAs for the proxies (RSA-4096 is
// what Outcall makes by default, RSA-2048 is kinder to proxies that reuse the CA's key in their leaves) and HAProxy's own leaf.
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import path from 'node:path';

const DAYS = '3';
const HOSTS = 'subjectAltName=DNS:bench.test,DNS:*.bench.test';
const P256 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

/** Paths of a certificate and its key (PEM), and the certificate's text. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
  readonly pem: string;
}

export interface Certificates {
  readonly originCa: Identity;
  readonly origin: Identity;
  readonly proxyCa: Identity;
  readonly smallProxyCa: Identity;
  readonly reverseLeaf: Identity;
}

/** Makes them all in `folder`. Throws what openssl says when it fails. */
export function makeCertificates(folder: string): Certificates {
  const originCa = makeCa(folder, 'origin-ca', P256);
  const proxyCa = makeCa(folder, 'proxy-ca', ['-newkey', 'rsa:4096']);
  return {
    originCa,
    origin: makeLeaf(folder, 'origin', originCa),
    proxyCa,
    smallProxyCa: makeCa(folder, 'small-proxy-ca', ['-newkey', 'rsa:2048']),
    reverseLeaf: makeLeaf(folder, 'reverse', proxyCa),
  };
}

function makeCa(folder: string, name: string, newKey: readonly string[]): Identity {
  const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];
  return request(folder, name, `/CN=bench ${name}`, newKey, extensions);
}

function makeLeaf(folder: string, name: string, ca: Identity): Identity {
  const issuer = ['-CA', ca.cert, '-CAkey', ca.key];
  const extensions = [HOSTS, 'basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=serverAuth'];
  return request(folder, name, '/CN=bench.test', [...P256, ...issuer], extensions);
}

function request(
  folder: string,
  name: string,
  subject: string,
  how: readonly string[],
  extensions: readonly string[],
): Identity {
  const cert = path.join(folder, `${name}.pem`);
  const key = path.join(folder, `${name}.key`);
  const extra = extensions.flatMap((extension) => ['-addext', extension]);
  const files = ['-out', cert, '-keyout', key];
  execFileSync('openssl', ['req', '-x509', '-nodes', '-days', DAYS, '-subj', subject, ...how, ...extra, ...files], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  chmodSync(key, 0o600);
  return { cert, key, pem: readFileSync(cert, 'latin1') };
}
