/** Where the daemon's CA is by its options, and the keeper of it. Loads nothing of pki where no CA can come to be. */
import type { CaSource } from '../pki/signer.ts';
import type { CaKeeper, CaKeeperParts } from './ca-keeper.ts';
import type { DaemonOptions } from './options.ts';

type Parts = Pick<CaKeeperParts, 'entry' | 'environment' | 'log' | 'rules' | 'agents' | 'tellWorkers'> & {
  readonly options: DaemonOptions;
};

/** Undefined where no CA can come to be (S011-FR-022). */
export async function makeCaKeeper({ options, ...parts }: Parts): Promise<CaKeeper | undefined> {
  const source = sourceOf(options);
  if (source === undefined) return undefined;
  const { CaKeeper } = await import('./ca-keeper.ts');
  const start = { source, leafTtlSecs: options.interceptLeafTtlSecs, logLevel: options.logLevel };
  return new CaKeeper({ ...parts, source, start, user: options.signerUser });
}

function sourceOf({ ca, caDir, trustDir }: DaemonOptions): CaSource | undefined {
  if (caDir !== undefined) return { folder: caDir, trustFolder: trustDir };
  return ca === undefined ? undefined : { certPath: ca.certFile, keyPath: ca.keyFile };
}
