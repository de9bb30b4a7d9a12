/** Containers on the agents' network, as users and attackers have them. Disposing removes one at once. */
import type { RunOptions, RunResult } from '../../kit/run.ts';
import { APPLIANCE_ADDRESS } from './appliance.ts';
import { docker, tryDocker } from './lab.ts';

/** Images of images/: what agents use, tools of an attacker, and Java. */
export type AgentImage = 'outcall-agent' | 'outcall-attacker' | 'outcall-java';

export interface AgentOptions {
  readonly image?: AgentImage;
  /** More arguments of `docker run`: --cap-add, --dns, --user ... */
  readonly args?: readonly string[];
  /** Not given: no variable names the proxy. */
  readonly proxy?: boolean;
  /** Default: outcall. */
  readonly network?: string;
  /** False: the engine is not told to ask the appliance for names. */
  readonly dns?: boolean;
  /** What it runs; without it, nothing that does anything. */
  readonly command?: readonly string[];
}

export class Agent implements AsyncDisposable {
  readonly id: string;
  readonly address: string;

  constructor(id: string, address: string) {
    this.id = id;
    this.address = address;
  }

  async exec(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return tryDocker(['exec', ...(options.input === undefined ? [] : ['-i']), this.id, ...command], options);
  }

  /** curl with no progress meter and a bound on its time. */
  async curl(...args: readonly string[]): Promise<RunResult> {
    return this.exec(['curl', '--silent', '--show-error', '--max-time', '10', ...args]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await tryDocker(['rm', '--force', '--volumes', this.id]);
  }
}

/** Starts a container that does nothing by itself, with DNS and trust as `compose/agent.yaml` has them. */
export async function startAgent(options: AgentOptions = {}): Promise<Agent> {
  const { image = 'outcall-agent', args = [], network = 'outcall', proxy = false, dns = true } = options;
  const { command = ['sleep', 'infinity'] } = options;
  const variables = { ...TRUST_VARIABLES, ...(proxy ? PROXY_VARIABLES : {}) };
  const id = await docker([
    'run',
    '--detach',
    '--init',
    '--network',
    network,
    ...(dns ? ['--dns', APPLIANCE_ADDRESS] : []),
    '--volume',
    'outcall-trust:/etc/outcall/trust:ro',
    ...Object.entries(variables).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...args,
    image,
    ...command,
  ]);
  const address = await docker(['inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, id]);
  return new Agent(id, address);
}

const BUNDLE = '/etc/outcall/trust/bundle.crt';
const TRUST_VARIABLES = {
  SSL_CERT_FILE: BUNDLE,
  CURL_CA_BUNDLE: BUNDLE,
  REQUESTS_CA_BUNDLE: BUNDLE,
  GIT_SSL_CAINFO: BUNDLE,
  NODE_EXTRA_CA_CERTS: '/etc/outcall/trust/ca.crt',
};
const PROXY = `http://${APPLIANCE_ADDRESS}:8080`;
const PROXY_VARIABLES = { http_proxy: PROXY, https_proxy: PROXY, HTTP_PROXY: PROXY, HTTPS_PROXY: PROXY };
