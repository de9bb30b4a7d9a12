/**
 * `outcall ca init | bundle | status`: makes a CA on disk, prints what containers are to trust, and says what is loaded
 * (S011-FR-002, FR-018, IF-007 to IF-009). Never opens the key. Exit 6 where there is no CA.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { getCACertificates } from 'node:tls';
import { type Command, Option } from 'commander';
import { ADMIN_PATHS, type CaAnswer, type CaSummary } from '../domain/admin-api.ts';
import { bundleOf, type CaInfo, loadCaCertificate } from '../pki/ca-certificate.ts';
import { CaError } from '../pki/ca-error.ts';
import { initCa } from '../pki/ca-files.ts';
import { inspectKeyFile } from '../pki/ca-key.ts';
import { caFolderPaths, caPaths } from '../pki/ca-names.ts';
import type { CaAlgorithm } from '../pki/certificate.ts';
import { LEAF_CACHE_MAX } from '../pki/leaf-cache.ts';
import { withAdminSocket } from './admin-socket-option.ts';
import { addCaChangeCommands } from './ca-change.ts';
import { permitDomainsOption } from './ca-options.ts';
import { CliError, type CliIo, EXIT_FAILURE, EXIT_NOT_FOUND, EXIT_USAGE } from './io.ts';

/** The part of the admin API's client that these commands use. */
export type AdminReader = (socketPath: string) => { get<T>(path: string): Promise<T> };

const DEFAULT_CA_DIR = '/etc/outcall/ca';

/** Adds `ca` and its commands. They reject with CliError. */
export function addCaCommands(program: Command, io: CliIo, admin: AdminReader): void {
  const ca = program.command('ca').description('the CA that signs for intercepted hosts');
  ca.command('init')
    .description('make a CA: ca.crt for containers to trust, ca.key for outcalld alone')
    .addOption(new Option('--out <dir>', 'folder for the two files').env('OUTCALL_CA_DIR').default(DEFAULT_CA_DIR))
    .addOption(new Option('--algorithm <name>', 'rsa: RSA-4096; ecdsa: P-256').choices(['rsa', 'ecdsa']).default('rsa'))
    .addOption(permitDomainsOption())
    .option('--force', 'replace a CA that is there', false)
    .action((options) => init(io, options));
  fromFolderOrDaemon(ca.command('bundle'))
    .description('print what a container is to trust: the CA certificate in PEM, two or three while it is replaced')
    .option('--system', "put this machine's system roots before it, for SSL_CERT_FILE and the like", false)
    .option('--der', 'the certificate of the CA that signs, in DER; with --out', false)
    .option('--out <file>', 'write it there')
    .action((options, command) => bundle(io, options, new CaSource(command, admin)));
  fromFolderOrDaemon(ca.command('status'))
    .description('say which CA is loaded; exit 6 where there is none')
    .option('--json', 'one JSON object', false)
    .action((options, command) => status(io, options, new CaSource(command, admin)));
  addCaChangeCommands(ca, io);
}

function fromFolderOrDaemon(command: Command): Command {
  return withAdminSocket(
    command.addOption(
      new Option('--ca-dir <dir>', 'read the CA here instead of asking outcalld')
        .env('OUTCALL_CA_DIR')
        .default(DEFAULT_CA_DIR),
    ),
  );
}

interface InitOptions {
  readonly out: string;
  readonly algorithm: CaAlgorithm;
  readonly permitDomains: readonly string[];
  readonly force: boolean;
}

async function init(io: CliIo, { out, ...options }: InitOptions): Promise<void> {
  const { paths, info } = await initCa(out, { ...options, now: Date.now() }).catch((error: unknown) => {
    throw asCliError(error);
  });
  io.out(`certificate  ${paths.cert}\n`);
  io.out(`key          ${paths.key} (mode 0600)\n`);
  io.out(`subject      ${info.subject}\n`);
  if (options.permitDomains.length > 0) io.out(`signs for    ${options.permitDomains.join(', ')} and below\n`);
  io.out(`valid until  ${info.not_after}\n`);
  io.out(`SHA-256 fingerprint  ${info.fingerprint_sha256}\n`);
  io.err('Whoever has the key can pose as any site to every container that trusts this CA: never copy it elsewhere.\n');
}

interface BundleOptions {
  readonly system: boolean;
  readonly der: boolean;
  readonly out?: string;
}

async function bundle(io: CliIo, { system, der, out }: BundleOptions, source: CaSource): Promise<void> {
  if (der && (out === undefined || system)) {
    throw new CliError(EXIT_USAGE, '--der is one certificate in binary: give --out FILE, and no --system');
  }
  const certPem = await source.bundle();
  const text = [...(system ? systemRoots() : []), certPem].map((pem) => `${pem.trimEnd()}\n`).join('');
  if (out === undefined) io.out(text);
  else writeFileSync(out, der ? new X509Certificate(certPem).raw : text);
}

function systemRoots(): readonly string[] {
  const roots = getCACertificates('system');
  if (roots.length === 0) throw new CliError(EXIT_FAILURE, 'this machine has no system roots to put into the bundle');
  // The store lists some of them twice.
  return [...new Set(roots)];
}

async function status(io: CliIo, options: { json: boolean }, source: CaSource): Promise<void> {
  const { answer, problem } = await source.status();
  if (options.json) {
    io.out(`${JSON.stringify(answer)}\n`);
  } else if (answer.loaded) {
    io.out(`subject              ${answer.subject}\n`);
    io.out(`SHA-256 fingerprint  ${answer.fingerprint_sha256}\n`);
    io.out(`valid                ${answer.not_before} to ${answer.not_after}\n`);
    if (answer.permit_domains !== null) io.out(`signs for            ${answer.permit_domains.join(', ')} and below\n`);
    io.out(`leaf cache           ${answer.leaf_cache_size} of ${answer.leaf_cache_max}\n`);
    io.out(rotationText(answer));
  }
  if (problem !== undefined) throw problem;
}

/** What containers are to trust beside the CA that signs. */
function rotationText({ next, previous }: CaAnswer): string {
  const line = (name: string, ca: CaSummary | null, does: string) =>
    ca === null ? '' : `${name.padEnd(19)}  ${ca.fingerprint_sha256}, until ${ca.not_after}: ${does}\n`;
  return (
    line('next', next, 'in the bundle; signs after outcall ca rotate') +
    line('previous', previous, 'in the bundle until outcall ca delete previous')
  );
}

/** Where the answers come from: a folder that was named, else the daemon, else the default folder. */
class CaSource {
  readonly #folder: string;
  readonly #named: boolean;
  readonly #daemon: ReturnType<AdminReader>;

  constructor(command: Command, admin: AdminReader) {
    const { caDir, adminSocket } = command.opts<{ caDir: string; adminSocket: string }>();
    this.#folder = caDir;
    // The environment says where the daemon has its folder, and is no wish to read it instead of asking.
    this.#named = command.getOptionValueSource('caDir') === 'cli';
    this.#daemon = admin(adminSocket);
  }

  /** PEM. Rejects with CliError, exit 6, where there is no CA. */
  async bundle(): Promise<string> {
    const loaded = this.#named ? undefined : await this.#ask<string>(ADMIN_PATHS.caBundle);
    const certPem = loaded ?? this.#readBundle();
    if (certPem === undefined) throw new CliError(EXIT_NOT_FOUND, this.#absence());
    return certPem;
  }

  /** `problem`: what is wrong, as the error that the command ends with. */
  async status(): Promise<{ answer: CaAnswer; problem: CliError | undefined }> {
    const daemon = await this.#ask<CaAnswer>(ADMIN_PATHS.ca);
    if (daemon !== undefined && !this.#named) {
      const remedy = daemon.managed ? 'make one with: outcall ca generate' : 'start it with --ca-dir, or with a CA';
      const absence = `no CA: outcalld runs without one; ${remedy}`;
      return { answer: daemon, problem: daemon.loaded ? undefined : new CliError(EXIT_NOT_FOUND, absence) };
    }
    const info = this.#readCertificate();
    const answer = answerFrom(info, daemon);
    if (info === undefined) return { answer, problem: new CliError(EXIT_NOT_FOUND, this.#absence()) };
    const problem = inspectKeyFile(caPaths(this.#folder).key);
    return { answer, problem: problem === undefined ? undefined : new CliError(EXIT_FAILURE, problem) };
  }

  /** Unreachable is no fault of these commands: then the files tell. */
  #ask<T>(path: string): Promise<T | undefined> {
    return this.#daemon.get<T>(path).catch(() => undefined);
  }

  /** Undefined where there is none; CliError where there is one that cannot be used. */
  #readCertificate(): CaInfo | undefined {
    try {
      return loadCaCertificate(caPaths(this.#folder).cert, Date.now()).info;
    } catch (error) {
      if (error instanceof CaError && error.kind === 'missing') return undefined;
      throw asCliError(error);
    }
  }

  /** Undefined where there is no CA. */
  #readBundle(): string | undefined {
    const current = this.#readCertificate();
    if (current === undefined) return undefined;
    const { next, previous } = caFolderPaths(this.#folder);
    const read = (file: string) => (existsSync(file) ? loadCaCertificate(file, Date.now()).info : undefined);
    return bundleOf({ current, next: read(next.cert), previous: read(previous) });
  }

  #absence(): string {
    const { cert } = caPaths(this.#folder);
    return `no CA: ${cert} does not exist; make one with: outcall ca init --out ${this.#folder}`;
  }
}

/** Cached leaves belong to the CA of the daemon: another CA, or no daemon, has none. */
function answerFrom(info: CaInfo | undefined, daemon: CaAnswer | undefined): CaAnswer {
  const inUse = daemon !== undefined && info !== undefined && daemon.fingerprint_sha256 === info.fingerprint_sha256;
  return {
    loaded: info !== undefined,
    subject: info?.subject ?? null,
    fingerprint_sha256: info?.fingerprint_sha256 ?? null,
    not_before: info?.not_before ?? null,
    not_after: info?.not_after ?? null,
    leaf_cache_size: inUse ? daemon.leaf_cache_size : info === undefined ? null : 0,
    leaf_cache_max: inUse ? daemon.leaf_cache_max : LEAF_CACHE_MAX,
    permit_domains: info?.constraints?.permitted ?? null,
    managed: daemon?.managed ?? false,
    next: inUse ? daemon.next : null,
    previous: inUse ? daemon.previous : null,
  };
}

function asCliError(error: unknown): unknown {
  return error instanceof CaError ? new CliError(EXIT_FAILURE, error.message, { cause: error }) : error;
}
