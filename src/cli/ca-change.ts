/**
 * `outcall ca generate | upload | rotate | delete`: changes the CA of a daemon that runs, which writes it itself (--ca-dir).
 * A key that is uploaded goes over the admin socket to the signer alone; no command ever gets one back.
 */
import { readFileSync } from 'node:fs';
import { Argument, type Command, Option } from 'commander';
import { ADMIN_PATHS, CA_UPLOAD_PROTOCOL, type CaAnswer, type CaSummary } from '../domain/admin-api.ts';
import { CaError } from '../pki/ca-error.ts';
import { keyFileProblem } from '../pki/ca-key.ts';
import { UNMANAGED } from '../pki/ca-names.ts';
import { readPemFile } from '../pki/pem-file.ts';
import { clientOf, withAdminSocket } from './admin-socket-option.ts';
import { permitDomainsOption } from './ca-options.ts';
import { CliError, type CliIo, EXIT_FAILURE, EXIT_USAGE } from './io.ts';

/** RSA-4096 takes seconds on a slow machine; then rules are read again by all processes. */
const CHANGE_TIMEOUT_MS = 90_000;
const STDIN = '-';
const STDIN_FD = 0;

interface Options {
  readonly adminSocket: string;
  readonly json: boolean;
}

/** Adds the commands to `ca`. They reject with CliError. */
export function addCaChangeCommands(ca: Command, io: CliIo): void {
  changing(ca.command('generate'))
    .description('let outcalld make a CA: the first one signs at once, another waits as the next one')
    .addOption(new Option('--algorithm <name>', 'rsa: RSA-4096; ecdsa: P-256').choices(['rsa', 'ecdsa']).default('rsa'))
    .addOption(permitDomainsOption())
    .action(async (options: Options & { algorithm: string; permitDomains: readonly string[] }) => {
      const body = JSON.stringify({ algorithm: options.algorithm, permit_domains: options.permitDomains });
      report(io, options, await change(options, 'POST', ADMIN_PATHS.ca, body));
    });
  changing(ca.command('upload'))
    .description('give outcalld a CA of yours in place of one that it makes')
    .argument('<cert>', 'its certificate in PEM; - for standard input, which then has the key too')
    .argument('[key]', 'its private key in PEM, mode 0600')
    .action((cert: string, key: string | undefined, options: Options) => upload(io, cert, key, options));
  changing(ca.command('rotate'))
    .description('sign with the next CA; what the one before has signed stays trusted until it is deleted')
    .option('--force', 'although agents do not trust it yet; TLS that is intercepted fails for them', false)
    .action(async (options: Options & { force: boolean }) => {
      const path = `${ADMIN_PATHS.caRotate}${options.force ? '?force=1' : ''}`;
      report(io, options, await change(options, 'POST', path));
    });
  changing(ca.command('delete'))
    .description('take a CA away: the next one, the previous one, or all')
    .addArgument(new Argument('<which>', 'what to delete').choices(['next', 'previous', 'all']))
    .option('--force', 'although rules intercept; their hosts are refused then', false)
    .action(async (which: string, options: Options & { force: boolean }) => {
      const path = `${ADMIN_PATHS.ca}?which=${which}${options.force ? '&force=1' : ''}`;
      report(io, options, await change(options, 'DELETE', path));
    });
}

function changing(command: Command): Command {
  return withAdminSocket(command.option('--json', 'one JSON object, as of ca status', false));
}

function change(options: Options, method: 'POST' | 'DELETE', path: string, body?: string): Promise<CaAnswer> {
  return clientOf(options).change<CaAnswer>(method, path, body, CHANGE_TIMEOUT_MS);
}

async function upload(io: CliIo, cert: string, key: string | undefined, options: Options): Promise<void> {
  if ((cert === STDIN) !== (key === undefined)) {
    throw new CliError(EXIT_USAGE, 'name the certificate and the key, or - alone to read both from standard input');
  }
  const material = key === undefined ? readFileSync(STDIN_FD) : readPair(cert, key);
  try {
    const { managed } = await clientOf(options).get<CaAnswer>(ADMIN_PATHS.ca);
    if (!managed) throw new CliError(EXIT_FAILURE, UNMANAGED);
    const answer = await clientOf(options).upload<CaAnswer>(ADMIN_PATHS.caUpload, CA_UPLOAD_PROTOCOL, material);
    report(io, options, answer);
  } finally {
    material.fill(0);
  }
}

function readPair(cert: string, key: string): Buffer {
  try {
    const certificate = readPemFile(cert, 'CA certificate', { follow: true });
    const secret = readPemFile(key, 'CA key', { follow: false, check: (stat) => insistOnPrivate(key, stat) });
    const both = Buffer.concat([certificate, Buffer.from('\n'), secret]);
    secret.fill(0);
    return both;
  } catch (error) {
    throw error instanceof CaError ? new CliError(EXIT_FAILURE, error.message, { cause: error }) : error;
  }
}

/** A key that others could read is no secret any more. */
function insistOnPrivate(path: string, stat: Parameters<typeof keyFileProblem>[1]): void {
  const problem = keyFileProblem(path, stat, process.geteuid?.() ?? 0);
  if (problem !== undefined) throw new CaError('unfit', problem);
}

function report(io: CliIo, { json }: Options, answer: CaAnswer): void {
  if (json) io.out(`${JSON.stringify(answer)}\n`);
  else io.out(textOf(answer));
}

function textOf({ loaded, subject, fingerprint_sha256, next, previous }: CaAnswer): string {
  if (!loaded) return 'There is no CA: nothing is intercepted.\n';
  const other = (name: string, ca: CaSummary | null) =>
    ca === null ? '' : `${name.padEnd(9)} ${ca.fingerprint_sha256}  ${ca.subject}\n`;
  const hint = next === null ? '' : NEXT_HINT;
  return `signs     ${fingerprint_sha256}  ${subject}\n${other('next', next)}${other('previous', previous)}${hint}`;
}

const NEXT_HINT = `The next CA is in the bundle. Let every container trust it (outcall watch, outcall attach, a new start), then: outcall ca rotate
`;
