/**
 * The command line and environment of outcalld -> options, or every problem at once.
 * A flag wins over its OUTCALL_ variable, an empty variable counts as not set. Opens no file.
 */
import { Command, CommanderError } from 'commander';
import { lockProblems } from './lock-options.ts';
import { operatorProblems } from './operator-options.ts';
import type { Checked } from './option-checks.ts';
import { environmentName } from './option-spec.ts';
import { OPTION_TABLE, type OptionName } from './option-table.ts';

type ValueOf<N extends OptionName> = ReturnType<(typeof OPTION_TABLE)[N]['check']> extends Checked<infer T> ? T : never;
/** Those without a fallback in the table. */
type Optional = {
  [N in OptionName]: (typeof OPTION_TABLE)[N]['fallback'] extends undefined ? N : never;
}[OptionName];
type Values = { readonly [N in Exclude<OptionName, Optional>]: ValueOf<N> } & {
  readonly [N in Optional]: ValueOf<N> | undefined;
};

export type DaemonOptions = Omit<Values, 'caCert' | 'caKey'> & {
  /** Both files, or no interception but by the CA of --ca-dir. */
  readonly ca: { readonly certFile: string; readonly keyFile: string } | undefined;
};

/** usage: text for standard error and exit code 2; done: text for standard output (help, version) and exit code 0. */
export type OptionsResult =
  | { readonly kind: 'options'; readonly options: DaemonOptions; readonly warnings: readonly string[] }
  | { readonly kind: 'done'; readonly text: string }
  | { readonly kind: 'usage'; readonly text: string };

/** Where a text came from, as the operator would write it. */
interface Written {
  readonly text: string;
  readonly source: 'flag' | 'environment' | 'default';
}

const TWO_CAS = '--ca-dir: it is set beside --ca-cert and --ca-key; write the folder, or the two files, and not both';
const TRUST_WITHOUT_CA = '--trust-dir: it is set without --ca-dir; write --ca-dir /etc/outcall/ca as well, or neither';

/** `args` without node and script; `environment` is process.env or a test's. */
export function parseOptions(args: readonly string[], environment: NodeJS.ProcessEnv, version: string): OptionsResult {
  const parsed = parseFlags(args, version);
  if (parsed.kind !== 'flags') return parsed;
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  const given = new Set<OptionName>();
  for (const name of Object.keys(OPTION_TABLE) as OptionName[]) {
    const written = lookUp(name, parsed.flags, environment);
    values[name] = written === undefined ? undefined : checkOne(name, written, problems);
    if (written !== undefined) given.add(name);
  }
  const { caCert, caKey, ...rest } = values as Values;
  if ((caCert === undefined) !== (caKey === undefined)) problems.push(halfACa(caCert, caKey));
  if (caCert !== undefined && rest.caDir !== undefined) problems.push(TWO_CAS);
  if (rest.trustDir !== undefined && rest.caDir === undefined) problems.push(TRUST_WITHOUT_CA);
  problems.push(...lockProblems(rest, given), ...operatorProblems(rest));
  if (problems.length > 0) return { kind: 'usage', text: usageText(problems) };
  const ca = caCert === undefined || caKey === undefined ? undefined : { certFile: caCert, keyFile: caKey };
  return { kind: 'options', options: { ...rest, ca }, warnings: strangersIn(environment) };
}

type Flags = { readonly kind: 'flags'; readonly flags: Readonly<Record<string, unknown>> };

function parseFlags(args: readonly string[], version: string): Flags | Exclude<OptionsResult, { kind: 'options' }> {
  let out = '';
  let err = '';
  const program = daemonCommand(version)
    .exitOverride()
    .configureOutput({ writeOut: (text) => (out += text), writeErr: (text) => (err += text) });
  try {
    program.parse([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? { kind: 'done', text: out } : { kind: 'usage', text: err };
  }
  return { kind: 'flags', flags: program.opts() };
}

function daemonCommand(version: string): Command {
  const program = new Command('outcalld')
    .description('The appliance of Outcall: a proxy that lets through what the rules allow, and records the rest.')
    .version(version, '--version', 'print the version')
    .helpOption('--help', 'print this')
    .allowExcessArguments(false)
    .showHelpAfterError('(outcalld --help lists the options)')
    .addHelpText(
      'after',
      '\nEach option is also an environment variable: --drain-secs is OUTCALL_DRAIN_SECS. The flag wins.',
    );
  for (const spec of Object.values(OPTION_TABLE)) {
    const shown =
      spec.fallback === undefined || spec.fallback === '' || spec.placeholder === undefined
        ? ''
        : ` (${spec.fallback})`;
    program.option(
      spec.placeholder === undefined ? spec.flag : `${spec.flag} <${spec.placeholder}>`,
      spec.help + shown,
    );
  }
  return program;
}

function lookUp(
  name: OptionName,
  flags: Readonly<Record<string, unknown>>,
  environment: NodeJS.ProcessEnv,
): Written | undefined {
  const { flag, fallback } = OPTION_TABLE[name];
  const fromFlag = flags[name];
  if (fromFlag !== undefined) return { text: String(fromFlag), source: 'flag' };
  const fromEnvironment = environment[environmentName(flag)];
  if (fromEnvironment !== undefined && fromEnvironment !== '') return { text: fromEnvironment, source: 'environment' };
  return fallback === undefined ? undefined : { text: fallback, source: 'default' };
}

function checkOne(name: OptionName, { text, source }: Written, problems: string[]): unknown {
  const { flag, check } = OPTION_TABLE[name];
  const checked: Checked<unknown> = check(text);
  if (checked.ok) return checked.value;
  const [label, assignment] = source === 'environment' ? [environmentName(flag), '='] : [flag, ' '];
  problems.push(`${label}: ${JSON.stringify(text)} ${checked.wrong}; write ${label}${assignment}${checked.write}`);
  return undefined;
}

function halfACa(cert: string | undefined, key: string | undefined): string {
  return cert === undefined
    ? `--ca-key: ${JSON.stringify(key)} is set without its certificate; write --ca-cert /etc/outcall/ca/ca.crt as well, or neither`
    : `--ca-cert: ${JSON.stringify(cert)} is set without its key; write --ca-key /etc/outcall/ca/ca.key as well, or neither`;
}

function usageText(problems: readonly string[]): string {
  return `${problems.map((problem) => `outcalld: ${problem}`).join('\n')}\n`;
}

/** Variables that look like ours and are not: a misspelt limit must not pass in silence. */
function strangersIn(environment: NodeJS.ProcessEnv): string[] {
  const known = new Set(Object.values(OPTION_TABLE).map(({ flag }) => environmentName(flag)));
  return Object.keys(environment)
    .filter((name) => name.startsWith('OUTCALL_') && !known.has(name))
    .sort()
    .map((name) => `the environment variable ${name} is not an option of outcalld and is ignored`);
}
