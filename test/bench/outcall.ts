// Outcall itself as the bench starts it: the built daemon, one worker, ten rules and the audit record on. The records go down a pipe
// that another process empties, as a log collector would. A second target differs only in having 10,000 rules.
import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, mkdirSync, mkdtempSync, openSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { freePort, startPinned, stopChild } from './machine.ts';
import { type RunningTarget, type Site, startTarget, type Target } from './target.ts';

const DAEMON = path.join(import.meta.dirname, '../../bin/outcalld');
const BUNDLE = path.join(import.meta.dirname, '../../dist/outcalld.js');
const ADMIN_SOCKET = 'admin.sock';
const MANY_RULES = 10_000;
const RULES_PER_FILE = 2_500; // a rule file may have 1 MiB

export const TUNNEL_HOST = 'tunnel.bench.test';
export const BYTES_HOST = 'bytes.bench.test';

interface Setup {
  readonly rules: number;
  /** More than one share the proxy's core with the generator's. */
  readonly workers: number;
}

const USUAL: Setup = { rules: 0, workers: 1 };
export const outcall = outcallTarget('Outcall', 'one worker, ten rules, audit record on, RSA-4096 CA', USUAL);
export const outcallManyRules = outcallTarget('Outcall, 10,000 rules', 'the same with 10,000 rules', {
  ...USUAL,
  rules: MANY_RULES,
});
export const outcallTwoWorkers = outcallTarget('Outcall, two workers', 'the same with two workers on two cores', {
  ...USUAL,
  workers: 2,
});
export const outcallTargets: ReadonlySet<Target> = new Set([outcall, outcallManyRules, outcallTwoWorkers]);

export function isOutcallBuilt(): boolean {
  return existsSync(BUNDLE);
}

function outcallTarget(name: string, about: string, setup: Setup): Target {
  return {
    name,
    about,
    start: (site) => startDaemon(site, setup, [DAEMON]),
  };
}

/** The same under other options of node, which all of its processes take over. */
export function startOutcall(site: Site, nodeFlags: readonly string[]): Promise<RunningTarget> {
  return startDaemon(site, USUAL, [process.execPath, ...nodeFlags, BUNDLE]);
}

async function startDaemon(site: Site, setup: Setup, command: readonly string[]): Promise<RunningTarget> {
  const home = mkdtempSync(path.join(site.folder, 'outcall-'));
  mkdirSync(path.join(home, 'rules'));
  writeFileSync(path.join(home, 'rules', 'zz-bench.yaml'), tenRules(site));
  writeOtherRules(path.join(home, 'rules'), Math.max(0, setup.rules - TEN));
  const { certificates, origin } = site;
  const [port, dnsPort] = [await freePort(), await freePort()];
  const records = path.join(home, 'records');
  execFileSync('mkfifo', [records]);
  const pipe = openSync(records, constants.O_RDWR); // both ends, so that opening does not wait for the reader
  const drain = startPinned(site.cores, site.cores.generator, ['cat', records], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const through = { connect: true, originPort: origin.tlsPort, port };
  const routes = {
    intercepted: { ...through, ca: certificates.proxyCa.pem },
    h2: { ...through, originPort: origin.h2Port, ca: certificates.proxyCa.pem },
    tunnel: { ...through, ca: certificates.originCa.pem },
    plainTunnel: { ...through, originPort: origin.plainPort, ca: undefined },
  };
  const { workers } = setup;
  const whole = [...command, ...daemonOptions(site, home, port, dnsPort), `--workers=${workers}`];
  const daemon = await startTarget(site, whole, port, routes, {
    output: pipe,
    // It tries its port before it takes it for good, so that an accepted connection says nothing.
    isReady: () => saysReady(path.join(home, ADMIN_SOCKET)),
    cores: workers === 1 ? [site.cores.proxy] : [site.cores.proxy, site.cores.generator],
  });
  closeSync(pipe);
  const stop = async (): Promise<void> => {
    await daemon.stop();
    await stopChild(drain);
  };
  return { ...daemon, dnsPort, stop };
}

function saysReady(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get({ socketPath, path: '/v1/ready', agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('error', () => resolve(false));
  });
}

function daemonOptions(site: Site, home: string, port: number, dnsPort: number): string[] {
  const options: Record<string, string | number> = {
    listen: `127.0.0.1:${port}`,
    rules: path.join(home, 'rules'),
    'ca-cert': site.certificates.proxyCa.cert,
    'ca-key': site.certificates.proxyCa.key,
    'upstream-ca': site.certificates.originCa.cert,
    'upstream-dns': `127.0.0.1:${site.nameServerPort}`,
    'allow-private': '127.0.0.0/8',
    'dns-listen': `127.0.0.1:${dnsPort}`,
    'agents-subnet': '127.64.0.0/10', // those who ask for names; nobody may dial it, so the origin is outside
    pool: '127.96.0.0/11',
    'admin-socket': path.join(home, ADMIN_SOCKET),
    'max-connections-per-agent': 16_384, // the whole bench is one agent
    'idle-timeout-secs': 600,
    'drain-secs': 0,
    'log-level': 'warn',
  };
  return Object.entries(options).map(([name, value]) => `--${name}=${value}`);
}

const TEN = 10;

/** Ten rules, of which the last but one allows what the bench asks for, so that the ones before are looked at. */
function tenRules(site: Site): string {
  const intercept = (id: string, condition: string): string =>
    rule(id, condition, 'allow', `mode: intercept, ports: [${site.origin.tlsPort}, ${site.origin.h2Port}]`);
  const rules = [
    rule('tunnel', `http.host == "${TUNNEL_HOST}"`, 'allow', `mode: proxy, ports: [${site.origin.tlsPort}]`),
    rule('bytes', `http.host == "${BYTES_HOST}"`, 'allow', `mode: direct_ip, ports: [${site.origin.plainPort}]`),
    rule('no-admin', 'domain(http.host, "bench.test") && http.path.startsWith("/admin")', 'block'),
    rule('no-delete', 'http.method == "DELETE"', 'block'),
    intercept(
      'model-messages',
      'http.host == "api.model.test" && http.method == "POST" && http.path.startsWith("/v1/messages")',
    ),
    intercept('packages', 'domain(http.host, "packages.test") && http.method in ["GET", "HEAD"]'),
    intercept('source', 'http.host == "source.test" && glob(http.path, "/api/*/files/**")'),
    intercept(
      'upload',
      'domain(http.host, "bench.test") && http.path.startsWith("/upload/") && http.header("x-token") != ""',
    ),
    intercept(
      'bench',
      'domain(http.host, "bench.test") && http.method in ["GET", "POST"] && http.path.startsWith("/v1/")',
    ),
    rule('nothing-else', 'domain(http.host, "bench.test")', 'block'),
  ];
  return `version: "1"\nrules:\n${rules.join('')}`;
}

function writeOtherRules(folder: string, count: number): void {
  for (let from = 0; from < count; from += RULES_PER_FILE) {
    const numbers = Array.from({ length: Math.min(RULES_PER_FILE, count - from) }, (_, index) => from + index);
    const rules = numbers.map((n) =>
      rule(`other-${n}`, `http.host == "h${n}.other.test" && http.path.startsWith("/v1/")`, 'allow', 'mode: intercept'),
    );
    writeFileSync(path.join(folder, `other-${from}.yaml`), `version: "1"\nrules:\n${rules.join('')}`);
  }
}

function rule(id: string, condition: string, action: 'allow' | 'block', egress?: string): string {
  const grant = egress === undefined ? '' : `    egress: { ${egress} }\n`;
  return `  - id: ${id}\n    condition: '${condition}'\n    action: ${action}\n${grant}`;
}
