/** scripts/up: what it says and installs where there is no Docker, and the whole of it on a real engine. */
import { symlinkSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { type RunResult, run } from '../kit/run.ts';
import { TempFolder } from '../kit/temp.ts';
import { removeEverything } from './kit/appliance.ts';
import { DOCKER, describeOnEngine, ENGINE_VARIABLES, ROOT } from './kit/lab.ts';

const UP = join(ROOT, 'scripts/up');
/** What the script may find in its PATH beside what a test puts there. */
const TOOLS = [
  'bash',
  'dirname',
  'dpkg',
  'head',
  'id',
  'sed',
  'sleep',
  'sort',
  'tail',
  'timeout',
  'wc',
  'touch',
  'chmod',
];
const WHOLE_MS = 300_000;

/** A machine by its programs: names with the text of a shell script each. */
class Machine implements Disposable {
  readonly #folder = new TempFolder();
  readonly #bin = join(this.#folder.path, 'bin');

  constructor(programs: Readonly<Record<string, string>>) {
    for (const [name, text] of Object.entries(programs))
      this.#folder.write(`bin/${name}`, `#!/bin/bash\n${text}`, 0o755);
    this.#folder.write('bin/.keep', '');
    for (const tool of TOOLS) symlinkSync(join(tool === 'dpkg' ? '/usr/bin' : '/bin', tool), join(this.#bin, tool));
  }

  up(...args: readonly string[]): Promise<RunResult> {
    return run(UP, args, { env: { PATH: this.#bin, BIN: this.#bin } });
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

const ENGINE_THAT_HAS_NOTHING = `case "$*" in
version*) echo 26.1.5 ;;
'compose version'*) echo 2.26.1 ;;
*) exit 1 ;;
esac`;
/** Debian 13's offers; installing them brings a docker. */
const APT_CACHE =
  'echo "  Candidate: $([[ $2 = docker-compose ]] && echo 2.26.1-4 || { [[ $2 = docker-compose-v2 ]] && echo "(none)" || echo 1.0; })"';
const APT_GET = `echo "apt-get $*" >&2
[[ $* != *install* ]] || { printf '#!/bin/bash\\n%s' '${ENGINE_THAT_HAS_NOTHING.replaceAll("'", "'\\''")}' >"$BIN/docker"; chmod 755 "$BIN/docker"; }`;

describe('scripts/up on a machine without Docker', () => {
  it('installs nothing with --no-install, and says where to get it', async () => {
    using machine = new Machine({ 'apt-get': APT_GET, 'apt-cache': APT_CACHE });
    const { code, stderr } = await machine.up('--no-install');
    expect([code, stderr]).toEqual([1, expect.stringContaining('--no-install forbids to install it')]);
    expect(stderr).not.toContain('apt-get');
  });

  it.skipIf(process.getuid?.() !== 0)('says what it installs, installs that with apt, and goes on', async () => {
    using machine = new Machine({ 'apt-get': APT_GET, 'apt-cache': APT_CACHE });
    const { stderr } = await machine.up();
    expect(stderr).toContain('up: there is no docker here: installing');
    expect(stderr).toContain('install -y --no-install-recommends docker.io docker-cli docker-buildx docker-compose');
    expect(stderr).toContain('using Docker Engine 26.1.5, Compose 2.26.1');
  });

  it.skipIf(process.getuid?.() !== 0)('installs nothing where the distribution’s Compose is too old', async () => {
    using machine = new Machine({ 'apt-get': APT_GET, 'apt-cache': 'echo "  Candidate: 1.29.2-3"' });
    const { code, stderr } = await machine.up();
    expect([code, stderr]).toEqual([1, expect.stringContaining('nothing was installed')]);
    expect(stderr).not.toContain('--no-install-recommends');
  });

  it('has no apt-get to install it with, and says so', async () => {
    using machine = new Machine({});
    expect(await machine.up()).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no apt-get to install it with'),
    });
  });
});

describe('scripts/up with an engine that no registry answers', () => {
  it('says what making the base image takes, and installs nothing for it with --no-install', async () => {
    using bare = new Machine({ docker: ENGINE_THAT_HAS_NOTHING });
    const first = await bare.up();
    expect(first).toMatchObject({ code: 1, stderr: expect.stringContaining('no registry gave node:24-bookworm-slim') });
    expect(first.stderr).toContain('that takes apt-get and npm');
    using forbidden = new Machine({ docker: ENGINE_THAT_HAS_NOTHING, npm: '', 'apt-get': APT_GET });
    const second = await forbidden.up('--no-install');
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('that takes mmdebstrap') });
    expect(second.stderr).not.toContain('apt-get -');
  });

  it('refuses a Compose that is too old', async () => {
    using machine = new Machine({ docker: ENGINE_THAT_HAS_NOTHING.replace('2.26.1', '2.17.3') });
    expect(await machine.up()).toMatchObject({ code: 1, stderr: expect.stringContaining('2.20 or newer is needed') });
  });
});

describeOnEngine('scripts/up on an engine', () => {
  vi.setConfig({ testTimeout: WHOLE_MS });

  it('shows one allowed and one refused request from inside the agent, and takes all of it down again', async () => {
    await removeEverything();
    const env = { ...ENGINE_VARIABLES, PATH: [dirname(DOCKER), process.env['PATH']].join(delimiter) };
    const up = await run(UP, ['--no-install'], { env, timeoutMs: WHOLE_MS });
    expect(up, up.stderr).toMatchObject({ code: 0 });
    expect(up.stdout).toContain('"did":"POST /v1/messages"');
    expect(up.stdout).toContain('Blocked by outcall');
    expect(up.stdout).toContain('What reached the origin: POST /v1/messages');
    const down = await run(UP, ['--down'], { env, timeoutMs: WHOLE_MS });
    expect(down, down.stderr).toMatchObject({ code: 0 });
    await removeEverything();
  });
});
