/** The signer as a process: hardened as the daemon does it. Lives on after the stop, so that its memory can be looked at. */

import { runSigner } from '../../../src/pki/signer.ts';
import { hardenSignerProcess } from '../../../src/pki/signer-process.ts';
import { ipcPort } from './ports.ts';

const [certPath, keyPath] = process.argv.slice(2) as [string, string];
const lacking = hardenSignerProcess();
process.send?.({ type: 'hardened', lacking });
await runSigner(ipcPort(process), { certPath, keyPath, leafTtlSecs: 3600, mayMint: () => true });
