/**
 * Where a container keeps what it trusts: the known places of each distribution, and a search for those that packages
 * bring with them. A search does not leave the container's own file system: what is mounted is somebody else's.
 */
import type { Engine } from './engine.ts';
import { runInside } from './exec.ts';
import { exists, type FoundFile, readFile } from './files.ts';

/** A folder of certificates that the distribution's tool makes its stores from. */
export interface Anchor {
  readonly evidence: readonly string[];
  readonly folder: string;
  /** Of a file's name. */
  readonly ending: '.crt' | '.pem';
  readonly tool: readonly string[];
  /** Where taking a certificate out needs more than running the tool again. */
  readonly toolForRemoval?: readonly string[];
}

const ANCHORS: readonly Anchor[] = [
  // Debian, Ubuntu, Alpine. The file is put there without the tool too: the package that brings the tool reads it.
  {
    evidence: ['/usr/sbin/update-ca-certificates', '/etc/debian_version', '/etc/alpine-release'],
    folder: '/usr/local/share/ca-certificates',
    ending: '.crt',
    tool: ['update-ca-certificates'],
    toolForRemoval: ['update-ca-certificates', '--fresh'],
  },
  // Fedora, RHEL, Amazon Linux
  {
    evidence: ['/etc/pki/ca-trust/source/anchors'],
    folder: '/etc/pki/ca-trust/source/anchors',
    ending: '.pem',
    tool: ['update-ca-trust', 'extract'],
  },
  // SUSE
  {
    evidence: ['/etc/pki/trust/anchors'],
    folder: '/etc/pki/trust/anchors',
    ending: '.pem',
    tool: ['update-ca-certificates'],
  },
  // Arch
  {
    evidence: ['/etc/ca-certificates/trust-source/anchors'],
    folder: '/etc/ca-certificates/trust-source/anchors',
    ending: '.crt',
    tool: ['update-ca-trust'],
  },
];

const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Alpine, distroless
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem', // Alpine's OpenSSL
  '/etc/ssl/ca-bundle.pem', // SUSE
  '/var/lib/ca-certificates/ca-bundle.pem',
] as const;

/** Where npm is -> the npmrc that holds for all users of it (npm's `globalconfig`: PREFIX/etc/npmrc). */
const GLOBAL_NPMRC: Readonly<Record<string, string>> = {
  '/usr/local/lib/node_modules/npm': '/usr/local/etc/npmrc',
  '/usr/lib/node_modules/npm': '/usr/etc/npmrc',
  '/usr/share/nodejs/npm': '/etc/npmrc',
};

const FIND = ['find', '/', '-xdev', '-type', 'f'];
const FIND_NAMES = ['(', '-name', 'cacert.pem', '-o', '-name', 'cacerts', '-o', '-name', 'cert9.db', ')'];
/** Packages that bring their own roots as text. */
const PYTHON_BUNDLE = /\/(certifi|botocore)\/cacert\.pem$/;
const JAVA_KEYSTORE = /\/(security|java)\/cacerts$/;
const NSS_DATABASE = /\/cert9\.db$/;
/** One container has a handful; a hostile one could list without end. */
const MAX_FOUND = 64;

export interface TrustPlaces {
  readonly anchors: readonly Anchor[];
  /** Each once, links followed. */
  readonly systemBundles: readonly FoundFile[];
  readonly pythonBundles: readonly string[];
  readonly javaKeystores: readonly string[];
  /** Folders. */
  readonly nssDatabases: readonly string[];
  readonly npmrc: readonly string[];
}

/** The container runs. */
export async function searchTrust(engine: Engine, containerId: string): Promise<TrustPlaces> {
  const [anchors, systemBundles, npmrc, found] = await Promise.all([
    filterBy(ANCHORS, ({ evidence }) => anyExists(engine, containerId, evidence)),
    systemBundlesOf(engine, containerId),
    filterBy(Object.entries(GLOBAL_NPMRC), ([npm]) => exists(engine, containerId, npm)),
    findInside(engine, containerId),
  ]);
  const matching = (pattern: RegExp) => found.filter((file) => pattern.test(file)).slice(0, MAX_FOUND);
  return {
    anchors,
    systemBundles,
    pythonBundles: matching(PYTHON_BUNDLE),
    javaKeystores: matching(JAVA_KEYSTORE),
    nssDatabases: matching(NSS_DATABASE).map((file) => file.replace(NSS_DATABASE, '')),
    npmrc: npmrc.map(([, file]) => file),
  };
}

export async function systemBundlesOf(engine: Engine, containerId: string): Promise<readonly FoundFile[]> {
  const found = await Promise.all(SYSTEM_BUNDLES.map((file) => readFile(engine, containerId, file)));
  const byPath = new Map(found.filter((file) => file !== undefined).map((file) => [file.path, file]));
  return [...byPath.values()];
}

/** Empty where the container has no `find`. */
async function findInside(engine: Engine, containerId: string): Promise<readonly string[]> {
  const { absent, out } = await runInside(engine, containerId, [...FIND, ...FIND_NAMES]);
  return absent ? [] : out.split('\n').filter((line) => line.startsWith('/'));
}

async function anyExists(engine: Engine, containerId: string, files: readonly string[]): Promise<boolean> {
  const found = await Promise.all(files.map((file) => exists(engine, containerId, file)));
  return found.includes(true);
}

async function filterBy<T>(items: readonly T[], keep: (item: T) => Promise<boolean>): Promise<readonly T[]> {
  const kept = await Promise.all(items.map(keep));
  return items.filter((_, index) => kept[index] === true);
}
