/** The names of the files of a CA folder, and whether there is one in it. Loads nothing: for those who must hold no key. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The CA is in files that we do not write. */
export const UNMANAGED =
  'the CA is in files that outcalld does not write; start it with --ca-dir to change the CA here';

export interface CaPaths {
  readonly cert: string;
  readonly key: string;
}

export interface CaFolderPaths {
  /** The CA that signs. */
  readonly current: CaPaths;
  /** The one that is to sign next. */
  readonly next: CaPaths;
  /** The certificate of the one that signed before. */
  readonly previous: string;
  /** What the current certificate is called once the removal of all was begun. */
  readonly removed: string;
}

/** Where `ca init` puts its files in a folder, and where everyone else looks for them. */
export function caPaths(folder: string): CaPaths {
  return { cert: join(folder, 'ca.crt'), key: join(folder, 'ca.key') };
}

export function caFolderPaths(folder: string): CaFolderPaths {
  return {
    current: caPaths(folder),
    next: { cert: join(folder, 'next.crt'), key: join(folder, 'next.key') },
    previous: join(folder, 'previous.crt'),
    removed: join(folder, 'removed.crt'),
  };
}

/** Whether there is a CA to load, or a change that was cut short and has to be ended. */
export function needsSigner(folder: string): boolean {
  const { current, next, removed } = caFolderPaths(folder);
  return [current.cert, next.cert, removed].some((file) => existsSync(file));
}
