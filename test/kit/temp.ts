/** A folder of its own for one test, gone afterwards. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export class TempFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'outcall-test-'));

  /** Writes a file (and the folders in between) and gives its full path. */
  write(name: string, content: string | Buffer, mode = 0o644): string {
    const file = join(this.path, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content, { mode });
    return file;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
