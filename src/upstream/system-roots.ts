/**
 * The roots that this system trusts, as PEM texts: from its one file where it has one, which takes a fortieth of the time of
 * Node's own reader. That one goes through the whole folder and parses most roots twice. Verifies nothing: see trust.ts.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { getCACertificates } from 'node:tls';

/** Debian, Alpine, Arch: update-ca-certificates writes all roots of the folder to it. */
const SYSTEM_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** An image without any falls back to those inside Node. A text that OpenSSL cannot read is passed over by it. */
export function systemRoots(bundle = SYSTEM_BUNDLE, environment = process.env): readonly string[] {
  const roots = bundledRoots(bundle, environment);
  const system = roots.size > 0 ? roots : new Set(getCACertificates('system'));
  return system.size > 0 ? [...system] : getCACertificates('bundled');
}

/** With those of SSL_CERT_FILE, as Node does it. Empty where SSL_CERT_DIR names another folder: that is for Node's reader. */
function bundledRoots(bundle: string, environment: NodeJS.ProcessEnv): ReadonlySet<string> {
  const ours = path.dirname(bundle);
  const { SSL_CERT_FILE: file = '', SSL_CERT_DIR: folder = ours } = environment;
  const roots = folder === ours ? certificatesIn(bundle) : [];
  return new Set(roots.length === 0 || file === '' ? roots : [...roots, ...certificatesIn(file)]);
}

/** Empty where it cannot be read. */
function certificatesIn(file: string): readonly string[] {
  try {
    return readFileSync(file, 'latin1').match(PEM_CERTIFICATE) ?? [];
  } catch {
    return [];
  }
}
