import path from 'node:path';
import tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import { systemRoots } from '../../../src/upstream/system-roots.ts';
import { TrustStore } from '../../../src/upstream/trust.ts';
import { startOrigin } from '../../kit/origin.ts';
import { testCa } from '../../kit/pki.ts';
import { TempFolder } from '../../kit/temp.ts';
import { TestClock } from './support.ts';

const HOST = 'origin.test';
const ca = testCa();
const otherCa = testCa('Another CA');
const NOTHING = '-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n';

describe('the roots of the system', () => {
  it('are those of its one file, each once; without such a file Node is asked', () => {
    using folder = new TempFolder();
    const bundle = folder.write('bundle.crt', `# comment\n${ca.certPem}${otherCa.certPem}${ca.certPem}`);
    expect(systemRoots(bundle, {})).toEqual([ca.certPem.trim(), otherCa.certPem.trim()]);
    expect(systemRoots(path.join(folder.path, 'none.crt'), {})).toEqual(asNodeFindsThem());
  });

  it('have those of SSL_CERT_FILE beside them, and are left to Node where SSL_CERT_DIR names another folder', () => {
    using folder = new TempFolder();
    const bundle = folder.write('bundle.crt', ca.certPem);
    const file = folder.write('own.crt', otherCa.certPem);
    const both = [ca.certPem.trim(), otherCa.certPem.trim()];
    expect(systemRoots(bundle, { SSL_CERT_FILE: file })).toEqual(both);
    expect(systemRoots(bundle, { SSL_CERT_FILE: file, SSL_CERT_DIR: folder.path })).toEqual(both);
    expect(systemRoots(bundle, { SSL_CERT_FILE: file, SSL_CERT_DIR: '/elsewhere' })).toEqual(asNodeFindsThem());
  });

  it('are all that an origin may stand on, and a broken one among them harms no other', async () => {
    using folder = new TempFolder();
    const trusting = (text: string) =>
      new TrustStore([], new TestClock(), systemRoots(folder.write('all.crt', text), {}));
    expect(await isTrusted(trusting(`${NOTHING}${otherCa.certPem}${NOTHING}${ca.certPem}`))).toBe(true);
    expect(await isTrusted(trusting(`${NOTHING}${otherCa.certPem}${NOTHING}`))).toBe(false);
  });
});

function asNodeFindsThem(): readonly string[] {
  const system = [...new Set(tls.getCACertificates('system'))];
  return system.length > 0 ? system : tls.getCACertificates('bundled');
}

async function isTrusted(trust: TrustStore): Promise<boolean> {
  await using origin = await startOrigin({ tls: { names: [HOST], ca } });
  const secureContext = trust.contextFor([]);
  const socket = tls.connect({ host: '127.0.0.1', port: origin.port, servername: HOST, secureContext });
  const authorized = await new Promise<boolean>((resolve) => {
    socket.once('secureConnect', () => resolve(socket.authorized));
    socket.once('error', () => resolve(false));
  });
  socket.destroy();
  return authorized;
}
