/** What a worker has of the signer: a client behind a cache. Asks for the hosts of its command line and keeps their leaves. */
import { createSecureContext } from 'node:tls';
import { canonicalHost } from '../../../src/domain/hostname.ts';
import { LeafCache } from '../../../src/pki/leaf-cache.ts';
import { SignerClient } from '../../../src/pki/signer-client.ts';
import { ipcPort } from './ports.ts';

const cache = new LeafCache(new SignerClient(ipcPort(process)));
for (const name of process.argv.slice(2)) {
  const host = canonicalHost(name);
  if (host === undefined) throw new Error(name);
  const { chainPem: cert, keyPem: key } = await cache.leafFor(host);
  createSecureContext({ cert, key });
}
process.send?.({ type: 'done', size: cache.size });
