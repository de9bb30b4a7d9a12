/**
 * The transcript in README.md: the part of what `npm start` prints that shows the requests and what came of them, with
 * the ports and the folder of an ordinary run. `npm run transcript` writes it anew; a test compares.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ROOT } from './quick-try.ts';

const README = path.join(ROOT, 'README.md');
const BLOCK = /(?<=```\n\$ npm start\n\n)[\s\S]*?\n(?=```\n)/;
const START_TIMEOUT_MS = 60_000;

/** Runs the quick try to its end in a folder of its own; throws with its output when it does not end well. */
export function liveTranscript(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'outcall-try-'));
  const args = ['scripts/start.ts', '--once', '--folder', folder];
  const tried = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', timeout: START_TIMEOUT_MS });
  rmSync(folder, { recursive: true });
  if (tried.status !== 0) throw new Error(`npm start -- --once: ${tried.status}\n${tried.stdout}\n${tried.stderr}`);
  const shown = tried.stdout.slice(0, tried.stdout.indexOf('\nWhat outcalld recorded')).trim();
  return `${withUsualPorts(shown).replaceAll(folder, '.outcall')}\n`;
}

/** The block of README.md that shows it. */
export function readmeTranscript(): string {
  const block = BLOCK.exec(readFileSync(README, 'utf8'))?.[0];
  if (block === undefined) throw new Error('README.md has no block that begins with `$ npm start`');
  return block;
}

/** A port that was taken shows as another one: what is compared and shown is an ordinary run. */
function withUsualPorts(text: string): string {
  return text.replaceAll(
    /(127\.0\.0\.1|example\.test):\d+/g,
    (_, host) => `${host}:${host === '127.0.0.1' ? 8080 : 8443}`,
  );
}

if (import.meta.main) {
  const text = readFileSync(README, 'utf8');
  const transcript = liveTranscript();
  writeFileSync(
    README,
    text.replace(BLOCK, () => transcript),
  );
}
