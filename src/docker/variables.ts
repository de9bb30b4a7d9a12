/**
 * Environment variables by which runtimes are told what to trust. A running program cannot be given them: attach says
 * which are missing, and --recreate and `outcall compose` set them. Pure.
 */

/** As compose/agent.yaml mounts it. */
export const TRUST_FOLDER = '/etc/outcall/trust';
/** The CA alone, for runtimes that add it to what they have. */
export const CA_FILE = `${TRUST_FOLDER}/ca.crt`;
/** Public roots and the CA, for runtimes that take one file for all. */
export const BUNDLE_FILE = `${TRUST_FOLDER}/bundle.crt`;

export interface TrustVariable {
  readonly name: string;
  readonly value: string;
  /** What reads it. */
  readonly readers: string;
}

export const TRUST_VARIABLES: readonly TrustVariable[] = [
  { name: 'NODE_EXTRA_CA_CERTS', value: CA_FILE, readers: 'Node, npm' },
  { name: 'SSL_CERT_FILE', value: BUNDLE_FILE, readers: 'OpenSSL, Python, Go, Rust, Ruby' },
  { name: 'REQUESTS_CA_BUNDLE', value: BUNDLE_FILE, readers: 'Python requests' },
  { name: 'CURL_CA_BUNDLE', value: BUNDLE_FILE, readers: 'curl' },
  { name: 'GIT_SSL_CAINFO', value: BUNDLE_FILE, readers: 'git' },
  { name: 'PIP_CERT', value: BUNDLE_FILE, readers: 'pip' },
  { name: 'npm_config_cafile', value: BUNDLE_FILE, readers: 'npm' },
  { name: 'AWS_CA_BUNDLE', value: BUNDLE_FILE, readers: 'AWS CLI and SDKs' },
  { name: 'CARGO_HTTP_CAINFO', value: BUNDLE_FILE, readers: 'cargo' },
  { name: 'DENO_CERT', value: CA_FILE, readers: 'Deno' },
];

/** Those that a container with this environment (`NAME=value`) does not have yet. */
export function missingVariables(environment: readonly string[]): readonly TrustVariable[] {
  const names = new Set(environment.map((assignment) => assignment.slice(0, assignment.indexOf('='))));
  return TRUST_VARIABLES.filter(({ name }) => !names.has(name));
}
