// The peers, from Debian: Squid with ssl-bump, mitmproxy, HAProxy as a reverse proxy that ends TLS, and the origin with nothing in
// between. Each is set up in its own favour: no log, no cache, no policy, one process or thread for the traffic.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { quickAllocator } from '../../src/daemon/allocator.ts';
import type { Identity } from './certificates.ts';
import { freePort } from './machine.ts';
import { type Site, startTarget, type Target } from './target.ts';

const PACKAGES = {
  squid: 'squid-openssl',
  mitmdump: 'mitmproxy',
  haproxy: 'haproxy',
  nginx: 'nginx-light',
  nghttpx: 'nghttp2-proxy',
  dnsmasq: 'dnsmasq-base',
};
/** Which the appliance's image has. */
const ALLOCATOR_PACKAGE = 'libmimalloc2.0';
const NO_SERVICE = '/usr/sbin/policy-rc.d'; // exit 101: invoke-rc.d starts nothing
const SQUID_LEAF_HELPER = '/usr/lib/squid/security_file_certgen';

/** Installs what is missing (as root), with no service started. Throws with the command to run otherwise. */
export function installPeers(): void {
  process.env['PATH'] += ':/usr/sbin:/sbin'; // where daemons are, and other users' PATH does not go
  const packages = Object.entries(PACKAGES).flatMap(([command, name]) => (isInstalled(command) ? [] : [name]));
  if (quickAllocator().LD_PRELOAD === undefined) packages.push(ALLOCATOR_PACKAGE);
  if (packages.length === 0) return;
  if (process.getuid?.() !== 0) throw new Error(`install the peers: apt-get install ${packages.join(' ')}`);
  const guarded = existsSync(NO_SERVICE);
  if (!guarded) writeFileSync(NO_SERVICE, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    execFileSync('apt-get', ['update', '-q'], { env, stdio: 'ignore' });
    execFileSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], { env, stdio: 'ignore' });
  } finally {
    if (!guarded) rmSync(NO_SERVICE);
  }
}

function isInstalled(command: string): boolean {
  return ['/usr/sbin', '/usr/bin', '/usr/local/bin'].some((folder) => existsSync(path.join(folder, command)));
}

/** Versions as the peers tell them, for the report. */
export function peerVersions(): Record<'squid' | 'mitmproxy' | 'haproxy' | 'nghttpx' | 'dnsmasq' | 'nginx', string> {
  const first = (command: string, ...args: string[]): string =>
    execFileSync('sh', ['-c', '"$@" 2>&1 | head -1', 'sh', command, ...args], { encoding: 'utf8' }).trim();
  return {
    squid: first('squid', '-v'),
    mitmproxy: first('/usr/bin/mitmdump', '--version'),
    haproxy: first('haproxy', '-v'),
    nghttpx: first('nghttpx', '--version'),
    dnsmasq: first('dnsmasq', '--version').replace(/ +Copyright.*/, ''),
    nginx: first('nginx', '-v'),
  };
}

export const direct: Target = {
  name: 'direct',
  about: 'the generator at the origin itself, nothing in between: the ceiling of every other figure',
  async start({ certificates, origin }) {
    const intercepted = {
      port: origin.tlsPort,
      connect: false,
      originPort: origin.tlsPort,
      ca: certificates.originCa.pem,
    };
    const plainTunnel = { ...intercepted, port: origin.plainPort, ca: undefined };
    const h2 = { ...intercepted, port: origin.h2Port };
    return { pid: origin.pid, startMs: 0, intercepted, h2, tunnel: intercepted, plainTunnel, stop: async () => {} };
  },
};

export const haproxy: Target = {
  name: 'HAProxy',
  about:
    'ends TLS and dials the origin with verified TLS, one thread; a reverse proxy: no CONNECT, no leaf made, one fixed origin',
  async start(site) {
    const home = mkdtempSync(path.join(site.folder, 'haproxy-'));
    const ports = { tls: await freePort(), h2: await freePort(), tunnel: await freePort(), plain: await freePort() };
    writeFileSync(path.join(home, 'leaf.pem'), joined(site.certificates.reverseLeaf));
    writeFileSync(path.join(home, 'haproxy.cfg'), haproxyConfig(site, home, ports));
    const command = ['haproxy', '-q', '-db', '-f', path.join(home, 'haproxy.cfg')];
    const fixed = { connect: false, originPort: site.origin.tlsPort };
    return startTarget(site, command, ports.tls, {
      intercepted: { ...fixed, port: ports.tls, ca: site.certificates.proxyCa.pem },
      h2: { ...fixed, port: ports.h2, ca: site.certificates.proxyCa.pem },
      tunnel: { ...fixed, port: ports.tunnel, ca: site.certificates.originCa.pem },
      plainTunnel: { ...fixed, port: ports.plain, ca: undefined },
    });
  },
};

function haproxyConfig(site: Site, home: string, ports: Record<'tls' | 'h2' | 'tunnel' | 'plain', number>): string {
  const verified = `ssl verify required ca-file ${site.certificates.originCa.cert} sni str(origin.bench.test)`;
  return `
global
  nbthread 1
  maxconn 4000
defaults
  timeout connect 10s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
listen intercepted
  mode http
  bind 127.0.0.1:${ports.tls} ssl crt ${home}/leaf.pem
  http-reuse always
  server origin 127.0.0.1:${site.origin.tlsPort} ${verified}
listen h2
  mode http
  bind 127.0.0.1:${ports.h2} ssl crt ${home}/leaf.pem alpn h2
  http-reuse always
  server origin 127.0.0.1:${site.origin.h2Port} ${verified} alpn h2
listen tunnel
  mode tcp
  bind 127.0.0.1:${ports.tunnel}
  server origin 127.0.0.1:${site.origin.tlsPort}
listen plain
  mode tcp
  bind 127.0.0.1:${ports.plain}
  server origin 127.0.0.1:${site.origin.plainPort}
`;
}

export const squid = squidTarget('Squid', 'ssl-bump, one worker, the same RSA-4096 CA as Outcall', 'proxyCa');
export const squidSmallCa = squidTarget('Squid, RSA-2048 CA', 'the same with an RSA-2048 CA', 'smallProxyCa');

function squidTarget(name: string, about: string, ca: 'proxyCa' | 'smallProxyCa'): Target {
  return {
    name,
    about,
    async start(site) {
      const home = mkdtempSync(path.join(site.folder, 'squid-'));
      const [bump, plain] = [await freePort(), await freePort()];
      const config = path.join(home, 'squid.conf');
      writeFileSync(config, squidConfig(site, home, site.certificates[ca], bump, plain));
      execFileSync(SQUID_LEAF_HELPER, ['-c', '-s', path.join(home, 'leaves'), '-M', '16MB'], { stdio: 'ignore' });
      if (process.getuid?.() === 0) giveTo('proxy', home);
      const service = `bench${bump}`; // names its shared memory
      const through = { connect: true, originPort: site.origin.tlsPort };
      return startTarget(site, ['squid', '-N', '-n', service, '-f', config], bump, {
        intercepted: { ...through, port: bump, ca: site.certificates[ca].pem },
        tunnel: { ...through, port: plain, ca: site.certificates.originCa.pem },
        plainTunnel: { connect: true, originPort: site.origin.plainPort, port: plain, ca: undefined },
      });
    },
  };
}

/** Squid leaves root for the user proxy, so it must own its folder and reach it. */
function giveTo(user: string, home: string): void {
  chmodSync(path.dirname(home), 0o711);
  execFileSync('chown', ['-R', user, home]);
}

function squidConfig(site: Site, home: string, ca: Identity, bump: number, plain: number): string {
  const leaves = 'generate-host-certificates=on dynamic_cert_mem_cache_size=16MB';
  return `
http_port 127.0.0.1:${bump} ssl-bump tls-cert=${ca.cert} tls-key=${ca.key} ${leaves}
http_port 127.0.0.1:${plain}
sslcrtd_program ${SQUID_LEAF_HELPER} -s ${home}/leaves -M 16MB
ssl_bump bump all
tls_outgoing_options cafile=${site.certificates.originCa.cert}
hosts_file ${site.hostsFile}
dns_nameservers 127.0.0.1
http_access allow all
cache deny all
cache_mem 8 MB
access_log none
cache_log ${home}/cache.log
cache_store_log none
pid_filename none
coredump_dir ${home}
max_filedescriptors 16384
pinger_enable off
visible_hostname bench
via off
forwarded_for delete
client_idle_pconn_timeout 10 minutes
server_idle_pconn_timeout 10 minutes
shutdown_lifetime 0 seconds
`;
}

export const mitmproxy: Target = {
  name: 'mitmproxy',
  about: 'mitmdump, quiet, large bodies streamed, the same RSA-4096 CA',
  async start(site) {
    const home = mkdtempSync(path.join(site.folder, 'mitmproxy-'));
    const port = await freePort();
    writeFileSync(path.join(home, 'mitmproxy-ca.pem'), joined(site.certificates.proxyCa));
    const options = ['-q', '--set', `confdir=${home}`, '--set', 'flow_detail=0', '--set', 'stream_large_bodies=1m'];
    const trust = ['--set', `ssl_verify_upstream_trusted_ca=${site.certificates.originCa.cert}`];
    const doors = [
      '--listen-host',
      '127.0.0.1',
      '-p',
      String(port),
      '--ignore-hosts',
      '^(tunnel|bytes)[.]bench[.]test',
    ];
    const through = { connect: true, originPort: site.origin.tlsPort, port };
    return startTarget(site, withHosts(site, ['/usr/bin/mitmdump', ...options, ...trust, ...doors]), port, {
      intercepted: { ...through, ca: site.certificates.proxyCa.pem },
      tunnel: { ...through, ca: site.certificates.originCa.pem },
      plainTunnel: { ...through, originPort: site.origin.plainPort, ca: undefined },
    });
  },
};

/** Runs a command with the bench's own /etc/hosts, in a mount namespace: the machine's file is not touched. */
function withHosts(site: Site, command: readonly string[]): string[] {
  const unshare = process.getuid?.() === 0 ? ['unshare', '-m'] : ['unshare', '-rm'];
  const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
  return [...unshare, 'sh', '-c', script, site.hostsFile, ...command];
}

function joined({ cert, key }: Identity): string {
  return readFileSync(key, 'latin1') + readFileSync(cert, 'latin1');
}
