/**
 * Which programs of a container trust the CA: each is asked in its own way, without a connection. What the programs say
 * is the container's word, and good for telling the operator what to set, not for deciding anything.
 */
import { fingerprintOf, holdsCertificate } from './certificate-text.ts';
import type { ContainerView } from './container-view.ts';
import type { Engine } from './engine.ts';
import { runInside } from './exec.ts';
import { systemBundlesOf } from './trust-search.ts';
import { BUNDLE_FILE, CA_FILE, TRUST_VARIABLES } from './variables.ts';

export interface RuntimeTrust {
  readonly name: string;
  readonly trusts: boolean;
  /** What makes it trust. */
  readonly remedy?: string;
}

/** Exit codes of the questions below. */
const TRUSTS = 0;
const TRUSTS_NOT = 1;
const NOT_THERE = 127;

/** Compares bodies without white space: files break lines as they like. */
const PYTHON_HELP = `
import re, sys
def bodies(text): return [re.sub(r'\\s', '', b) for b in re.findall('BEGIN CERTIFICATE-----(.*?)-----END', text, re.S)]
ca = bodies(open('${CA_FILE}').read())[0]
def holds(path):
    try: return ca in bodies(open(path, errors='replace').read())
    except OSError: return False
def answer(yes): sys.exit(${TRUSTS} if yes else ${TRUSTS_NOT})
`;
const PYTHON_SSL = `${PYTHON_HELP}
import os, ssl
p = ssl.get_default_verify_paths()
answer(holds(p.cafile or '') or any(holds(os.path.join(p.capath, f)) for f in (os.listdir(p.capath) if p.capath else [])))
`;
const PYTHON_REQUESTS = `${PYTHON_HELP}
import os
try: from requests.certs import where
except ImportError: sys.exit(${NOT_THERE})
answer(holds(os.environ.get('REQUESTS_CA_BUNDLE') or os.environ.get('CURL_CA_BUNDLE') or where()))
`;
const PYTHON_PIP = `${PYTHON_HELP}
import os
try: from pip._vendor.certifi import where
except ImportError: sys.exit(${NOT_THERE})
answer(holds(os.environ.get('PIP_CERT') or os.environ.get('REQUESTS_CA_BUNDLE') or where()))
`;
/** getCACertificates came with Node 22.15; before, only the variable can have done it. */
const NODE = `
const { X509Certificate } = require('crypto'), fs = require('fs'), tls = require('tls');
const print = (pem) => { try { return new X509Certificate(pem).fingerprint256; } catch { return ''; } };
const ca = print(fs.readFileSync('${CA_FILE}'));
const known = tls.getCACertificates ? tls.getCACertificates('default') : [fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS || '/dev/null')];
process.exit(known.some((pem) => print(pem) === ca) ? ${TRUSTS} : ${TRUSTS_NOT});
`;

interface Question {
  readonly name: string;
  readonly command: readonly string[];
  /** Where the exit code does not say it. */
  readonly judge?: (out: string, context: Context) => boolean;
  /** Names of TRUST_VARIABLES. */
  readonly variable: string;
}

interface Context {
  readonly environment: ReadonlyMap<string, string>;
  /** The distribution's bundle has the CA. */
  readonly inSystemBundle: boolean;
  readonly fingerprint: string;
}

const QUESTIONS: readonly Question[] = [
  { name: 'openssl', command: ['openssl', 'verify', CA_FILE], variable: 'SSL_CERT_FILE' },
  {
    name: 'curl',
    command: ['curl', '--version'],
    judge: usesBundle('CURL_CA_BUNDLE', 'SSL_CERT_FILE'),
    variable: 'CURL_CA_BUNDLE',
  },
  { name: 'git', command: ['git', '--version'], judge: usesBundle('GIT_SSL_CAINFO'), variable: 'GIT_SSL_CAINFO' },
  { name: 'wget', command: ['wget', '--version'], judge: usesBundle('SSL_CERT_FILE'), variable: 'SSL_CERT_FILE' },
  { name: 'python', command: ['python3', '-c', PYTHON_SSL], variable: 'SSL_CERT_FILE' },
  { name: 'python requests', command: ['python3', '-c', PYTHON_REQUESTS], variable: 'REQUESTS_CA_BUNDLE' },
  { name: 'pip', command: ['python3', '-c', PYTHON_PIP], variable: 'PIP_CERT' },
  { name: 'node', command: ['node', '-e', NODE], variable: 'NODE_EXTRA_CA_CERTS' },
  { name: 'npm', command: ['npm', 'config', 'get', 'cafile'], judge: namesBundle, variable: 'npm_config_cafile' },
  {
    name: 'java',
    command: ['keytool', '-list', '-cacerts', '-storepass', 'changeit'],
    judge: (out, { fingerprint }) => out.includes(fingerprint),
    variable: '',
  },
];

/** Those that are in the container, which runs. */
export async function runtimesOf(
  engine: Engine,
  container: ContainerView,
  caPem: string,
): Promise<readonly RuntimeTrust[]> {
  const [system] = await systemBundlesOf(engine, container.id);
  const context: Context = {
    environment: new Map(container.environment.map(splitAssignment)),
    inSystemBundle: holdsCertificate(system?.entry.content.toString('utf8') ?? '', caPem),
    fingerprint: fingerprintOf(caPem),
  };
  const found: RuntimeTrust[] = [];
  for (const question of QUESTIONS) {
    const trust = await askOne(engine, container.id, question, context);
    if (trust !== undefined) found.push(trust);
  }
  return found;
}

async function askOne(
  engine: Engine,
  id: string,
  { name, command, judge, variable }: Question,
  context: Context,
): Promise<RuntimeTrust | undefined> {
  const { absent, code, out } = await runInside(engine, id, command, 'itself');
  if (absent) return undefined;
  const trusts = judge === undefined ? code === TRUSTS : judge(out, context);
  return trusts ? { name, trusts } : { name, trusts, remedy: remedyFor(variable) };
}

function usesBundle(...variables: readonly string[]): NonNullable<Question['judge']> {
  return (_, { environment, inSystemBundle }) => {
    const chosen = variables.map((name) => environment.get(name)).find((value) => value !== undefined && value !== '');
    return chosen === undefined ? inSystemBundle : chosen === BUNDLE_FILE || chosen === CA_FILE;
  };
}

function namesBundle(out: string): boolean {
  return out.trim() === BUNDLE_FILE;
}

function remedyFor(variable: string): string {
  const known = TRUST_VARIABLES.find(({ name }) => name === variable);
  if (known === undefined) return 'attach it again, which imports the CA with keytool';
  return `make it anew with ${known.name}=${known.value} (outcall attach --recreate sets it)`;
}

function splitAssignment(assignment: string): [string, string] {
  const at = assignment.indexOf('=');
  return [assignment.slice(0, at), assignment.slice(at + 1)];
}
