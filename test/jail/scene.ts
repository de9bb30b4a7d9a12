/**
 * The jail with everything in it: the internet, two agents, and the real daemon with the capabilities that the image's
 * container has, started through the image's own opener of the transparent socket.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, chownSync } from 'node:fs';
import { join } from 'node:path';
import type { GrantsAnswer } from '../../src/domain/admin-api.ts';
import { outcall, TestDaemon } from '../kit/daemon.ts';
import { testCa } from '../kit/pki.ts';
import type { Zone } from '../kit/resolver.ts';
import { Seen } from '../kit/seen.ts';
import { TempFolder } from '../kit/temp.ts';
import { KIT_DEADLINE_MS, within } from '../kit/within.ts';
import type { Outcome, Wish } from './agent-child.ts';
import type { Contact, InetStart } from './inet-child.ts';
import { AGENTS_SUBNET, APPLIANCE, ISOLATED, JailNetwork, type Place, POOL, RESOLVER } from './network.ts';

const ROOT = join(import.meta.dirname, '../..');
export const WORKER_UID = 10_021;
export const SIGNER_UID = 10_022;
/** Three processes load their code from source, on a machine that may do much else. */
const START_DEADLINE_MS = 25_000;
/** What the container of compose.yaml has, and nothing else. */
export const CAPABILITIES = '-all,+net_admin,+net_bind_service,+setuid,+setgid,+kill';

interface SpawnOptions {
  /** As setpriv(1) takes them. */
  readonly capabilities?: string;
  readonly opener?: boolean;
}

type Done = { readonly id: number; readonly outcome: Outcome };

/** A process in an agent's namespace. */
export class JailAgent implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (outcome: Outcome) => void>();
  #asked = 0;

  constructor(network: JailNetwork, place: Place) {
    this.#child = childIn(network, place, 'agent-child.ts');
    this.#child.on('message', ({ id, outcome }: Done) => {
      this.#waiting.get(id)?.(outcome);
      this.#waiting.delete(id);
    });
  }

  does(wish: Wish): Promise<Outcome> {
    const id = this.#asked++;
    const outcome = new Promise<Outcome>((resolve) => this.#waiting.set(id, resolve));
    this.#child.send({ id, wish });
    return within(outcome, KIT_DEADLINE_MS, JSON.stringify(wish));
  }

  /** The synthetic address that the DNS filter gives this name; throws where it gives none. */
  async addressOf(name: string, server = APPLIANCE): Promise<string> {
    const { addresses, error } = await this.does({ op: 'resolve', name, server });
    if (addresses?.[0] === undefined) throw new Error(`${name}: ${error}`);
    return addresses[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await ended(this.#child, () => this.#child.disconnect());
  }
}

export class Jail implements AsyncDisposable {
  readonly network = new JailNetwork();
  readonly folder = new TempFolder();
  readonly contacts = new Seen<Contact>('contact in the internet');
  readonly originCa = testCa();
  readonly agent: JailAgent;
  readonly mate: JailAgent;
  readonly #inet: ChildProcess;
  #daemon: TestDaemon | undefined;
  #args: readonly string[] = [];

  private constructor() {
    this.agent = new JailAgent(this.network, 'agent');
    this.mate = new JailAgent(this.network, 'mate');
    this.#inet = childIn(this.network, 'inet', 'inet-child.ts');
  }

  static async start(options: {
    readonly rules: string;
    readonly names: readonly string[];
    readonly zone: Zone;
    /** Further options of the daemon; the names of files in the jail's folder follow `@`. */
    readonly args?: readonly string[];
    readonly files?: Readonly<Record<string, string>>;
  }): Promise<Jail> {
    const jail = new Jail();
    try {
      jail.#args = options.args ?? [];
      for (const [name, text] of Object.entries(options.files ?? {})) chmodSync(jail.folder.write(name, text), 0o600);
      await jail.#openInternet(options.names, options.zone);
      await jail.#makeFiles(options.rules);
      await jail.startDaemon();
      return jail;
    } catch (error) {
      await jail[Symbol.asyncDispose]();
      throw error;
    }
  }

  get daemon(): TestDaemon {
    if (this.#daemon === undefined) throw new Error('no daemon runs');
    return this.#daemon;
  }

  /** Starts it and waits until it is ready. */
  async startDaemon(): Promise<TestDaemon> {
    const daemon = this.spawnDaemon();
    this.#daemon = daemon;
    const gone = daemon.exited.then((how) => {
      throw new Error(`it exited: ${how}`);
    });
    gone.catch(() => undefined);
    try {
      const ready = daemon.log.some((line) => line['event'] === 'ready', START_DEADLINE_MS);
      await Promise.race([ready, gone]);
    } catch (error) {
      const lines = daemon.log.all.map((line) => JSON.stringify(line));
      throw new Error(`the daemon did not start; its log:\n${lines.join('\n')}`, { cause: error });
    }
    return daemon;
  }

  /** For starts that must fail too. Without the opener there is no transparent door. */
  spawnDaemon({ capabilities = CAPABILITIES, opener = true }: SpawnOptions = {}): TestDaemon {
    const app = join(this.folder.path, 'app');
    const given = [process.execPath.replace(ROOT, app), join(app, 'src/daemon/main.ts'), ...this.#options()];
    // The tree may be in a folder that other users may not enter; a mount of it is not.
    const script = 'mount --bind "$0" "$1" && shift && exec "$@"';
    const jailed = ['setpriv', '--no-new-privs', '--inh-caps=-all', `--bounding-set=${capabilities}`, '--'];
    const program = opener ? ['perl', join(app, 'images/appliance/listen'), ...given] : given;
    const child = spawn(
      'ip',
      ['netns', 'exec', this.network.nameOf('appliance'), 'sh', '-c', script, ROOT, app, ...jailed, ...program],
      {
        env: { PATH: process.env['PATH'] ?? '', ...(opener ? { OUTCALL_TRANSPARENT_LISTEN: '0.0.0.0:15001' } : {}) },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    // The folder is the jail's, which outlives its daemons.
    return new TestDaemon(this.folder, child);
  }

  /** Ends it as a crash would; its children end by themselves. */
  async killDaemon(): Promise<void> {
    this.#daemon?.signal('SIGKILL');
    await this.#daemon?.exited;
    this.#daemon = undefined;
  }

  async reload(rules: string): Promise<void> {
    this.folder.write('rules/rules.yaml', rules);
    const { code, stderr } = await this.daemon.cli('rules', 'reload');
    if (code !== 0) throw new Error(stderr);
  }

  async grants(): Promise<GrantsAnswer['grants']> {
    const { stdout } = await this.daemon.cli('grants', '--json');
    return (JSON.parse(stdout) as GrantsAnswer).grants;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.stop().catch(() => this.#daemon?.process.kill('SIGKILL'));
    await this.agent[Symbol.asyncDispose]();
    await this.mate[Symbol.asyncDispose]();
    await ended(this.#inet, () => this.#inet.disconnect());
    this.network[Symbol.dispose]();
    this.folder[Symbol.dispose]();
  }

  async #openInternet(names: readonly string[], zone: Zone): Promise<void> {
    const ready = new Promise<void>((resolve) => {
      this.#inet.on('message', (message: 'ready' | Contact) => {
        if (message === 'ready') resolve();
        else this.contacts.push(message);
      });
    });
    const pair = this.originCa.issue({ names });
    this.#inet.send({ certPem: pair.certPem, keyPem: pair.keyPem, zone } satisfies InetStart);
    await within(ready, KIT_DEADLINE_MS, 'the internet of the jail');
  }

  async #makeFiles(rules: string): Promise<void> {
    const { folder } = this;
    chmodSync(folder.path, 0o755);
    folder.write('rules/rules.yaml', rules);
    folder.write('upstream.pem', this.originCa.certPem);
    folder.write('app/.mounted-over', '');
    const ca = join(folder.path, 'ca');
    const made = await outcall(['ca', 'init', '--out', ca, '--algorithm', 'ecdsa']);
    if (made.code !== 0) throw new Error(made.stderr);
    for (const path of [ca, join(ca, 'ca.crt'), join(ca, 'ca.key')]) chownSync(path, SIGNER_UID, SIGNER_UID);
  }

  #options(): string[] {
    const { path } = this.folder;
    const options = {
      '--rules': join(path, 'rules'),
      '--admin-socket': join(path, 'admin.sock'),
      '--ca-cert': join(path, 'ca/ca.crt'),
      '--ca-key': join(path, 'ca/ca.key'),
      '--upstream-ca': join(path, 'upstream.pem'),
      '--upstream-dns': `${RESOLVER}:53`,
      '--allow-private': `198.18.0.0/15,${APPLIANCE}`,
      '--agents-subnet': AGENTS_SUBNET,
      '--pool': POOL,
      '--isolated': ISOLATED,
      '--dns-listen': `${APPLIANCE}:53`,
      '--worker-user': `${WORKER_UID}:${WORKER_UID}`,
      '--signer-user': `${SIGNER_UID}:${SIGNER_UID}`,
      '--workers': '2',
      '--drain-secs': '1',
    };
    const more = this.#args.map((arg) => arg.replace(/^@/, `${path}/`));
    return ['--lock', ...Object.entries(options).flat(), ...more];
  }
}

function childIn(network: JailNetwork, place: Place, file: string, ...args: readonly string[]): ChildProcess {
  const program = [process.execPath, join(import.meta.dirname, file), ...args];
  return spawn('ip', ['netns', 'exec', network.nameOf(place), ...program], {
    env: { PATH: process.env['PATH'] ?? '' },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

async function ended(child: ChildProcess, end: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  end();
  await exit;
}
