/**
 * The CAs of one installation on disk, for the one process that may write them: the signer.
 *   ca.crt, ca.key       the CA that signs          next.crt, next.key   the one that is to sign next
 *   previous.crt         the one that signed before, still to be trusted; its key is gone
 * Each change is a row of steps, each of which leaves one whole CA; recover() ends a row that was cut short (row 35).
 */
import { existsSync, linkSync, readdirSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type CaInfo, type CaSet, type LoadedCertificate, loadCaCertificate } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import { CERT_MODE, KEY_MODE } from './ca-files.ts';
import { loadCaKey } from './ca-key.ts';
import { type CaFolderPaths, caFolderPaths } from './ca-names.ts';
import { type Issuer, issuerOf } from './certificate.ts';
import { LEFT_BEHIND, syncFolder, writeWhole } from './whole-file.ts';

export interface LoadedCas {
  readonly cas: CaSet;
  /** Holds the key of the CA that signs; undefined without one. */
  readonly issuer: Issuer | undefined;
}

export class CaFolder {
  readonly #folder: string;
  readonly #paths: CaFolderPaths;

  constructor(folder: string) {
    this.#folder = folder;
    this.#paths = caFolderPaths(folder);
  }

  /** What a process that was killed left behind is ended, or taken back. Throws CaError where the folder cannot be written. */
  recover(): void {
    this.#change(() => {
      const halves = readdirSync(this.#folder).filter((name) => LEFT_BEHIND.test(name));
      for (const half of halves) remove(join(this.#folder, half));
      if (existsSync(this.#paths.removed)) this.#removeAll();
      const waiting = [this.#paths.next.cert, this.#paths.next.key].filter((file) => existsSync(file));
      if (waiting.length === 1) this.#settleNext(waiting[0] as string);
      if (isSame(this.#paths.previous, this.#paths.current.cert)) remove(this.#paths.previous);
    });
  }

  /** Reads all that is there, at `now` (milliseconds since the epoch). Throws CaError where a part of it cannot be used. */
  load(now: number): LoadedCas {
    const current = loadIfThere(this.#paths.current.cert, now);
    return {
      cas: { current: current?.info, next: this.#loadNext(now), previous: this.#loadPrevious(now) },
      issuer:
        current === undefined
          ? undefined
          : issuerOf(current.certificate, loadCaKey(this.#paths.current.key, current.certificate)),
    };
  }

  /** Puts a CA beside the one that signs. The key's bytes are wiped. */
  writeNext(certPem: string, keyPem: Buffer): void {
    try {
      // The certificate last: it says that the key is whole.
      this.#change(() => {
        this.#removeNext();
        writeWhole(this.#paths.next.key, keyPem, KEY_MODE, true);
        writeWhole(this.#paths.next.cert, certPem, CERT_MODE, true);
      });
    } finally {
      keyPem.fill(0);
    }
  }

  /** The next CA becomes the one that signs; the certificate of the one before is kept, its key is not. */
  promote(): void {
    this.#change(() => {
      if (existsSync(this.#paths.current.cert)) {
        remove(this.#paths.previous);
        linkSync(this.#paths.current.cert, this.#paths.previous);
      }
      renameSync(this.#paths.next.key, this.#paths.current.key);
      syncFolder(this.#folder);
      renameSync(this.#paths.next.cert, this.#paths.current.cert);
    });
  }

  drop(which: 'next' | 'previous' | 'all'): void {
    this.#change(() => {
      if (which === 'previous') return remove(this.#paths.previous);
      if (which === 'next') return this.#removeNext();
      if (existsSync(this.#paths.current.cert)) renameSync(this.#paths.current.cert, this.#paths.removed);
      syncFolder(this.#folder);
      this.#removeAll();
    });
  }

  /** One that cannot be used is none: what signs now goes on signing. */
  #loadNext(now: number): CaInfo | undefined {
    try {
      const next = loadIfThere(this.#paths.next.cert, now);
      if (next !== undefined) loadCaKey(this.#paths.next.key, next.certificate);
      return next?.info;
    } catch {
      return undefined;
    }
  }

  /** An old certificate that has expired since is none to be trusted any more, and no reason to sign nothing. */
  #loadPrevious(now: number): CaInfo | undefined {
    try {
      return loadIfThere(this.#paths.previous, now)?.info;
    } catch {
      return undefined;
    }
  }

  /** Half a next CA: the key went on to be ca.key before the certificate could, or only one of them was ever written. */
  #settleNext(half: string): void {
    if (half === this.#paths.next.cert && this.#isKeyOf(half)) renameSync(half, this.#paths.current.cert);
    else remove(half);
  }

  #isKeyOf(cert: string): boolean {
    try {
      loadCaKey(this.#paths.current.key, loadCaCertificate(cert, Date.now()).certificate);
      return true;
    } catch {
      return false;
    }
  }

  #removeNext(): void {
    remove(this.#paths.next.cert);
    remove(this.#paths.next.key);
  }

  /** removed.crt last: while it is there, the rest is to go. */
  #removeAll(): void {
    remove(this.#paths.current.key);
    this.#removeNext();
    remove(this.#paths.previous);
    syncFolder(this.#folder);
    remove(this.#paths.removed);
  }

  #change(steps: () => void): void {
    try {
      steps();
      syncFolder(this.#folder);
    } catch (cause) {
      if (cause instanceof CaError) throw cause;
      const { code } = cause as NodeJS.ErrnoException;
      const who = process.geteuid?.() ?? 0;
      const words = `cannot change the CA in ${this.#folder}: ${code}; let uid ${who} write there`;
      throw new CaError('unfit', words, { cause });
    }
  }
}

function loadIfThere(file: string, now: number): LoadedCertificate | undefined {
  return existsSync(file) ? loadCaCertificate(file, now) : undefined;
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function isSame(one: string, other: string): boolean {
  return existsSync(one) && existsSync(other) && readFileSync(one).equals(readFileSync(other));
}
