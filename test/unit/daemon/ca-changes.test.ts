import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ADMIN_PATHS, CA_UPLOAD_PROTOCOL, type CaAnswer } from '../../../src/domain/admin-api.ts';
import { initCa } from '../../../src/pki/ca-files.ts';
import { openHttps } from '../../kit/agent.ts';
import { startDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { type Origin, startOrigin } from '../../kit/origin.ts';
import { testCa } from '../../kit/pki.ts';
import { startResolver } from '../../kit/resolver.ts';
import { rulesFile } from '../../kit/rules.ts';
import { run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';
import { childNamed, isAlive, memoryHolds } from './processes.ts';

const CONDITION = 'http.host.endsWith(".a.test") && http.path.startsWith("/yes")';
const INTERCEPTING = rulesFile(
  `{ id: only-a-path, condition: '${CONDITION}', action: allow, egress: { mode: intercept } }`,
);
/** Ten of these, and a CA has expired. */
const YEAR_MS = 366 * 86_400_000;
const NOTHING = 'version: "1"\nrules: []\n';

interface Scene extends AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly origin: Origin;
  readonly caFolder: string;
  readonly folder: TempFolder;
}

async function withCaFolder(rules = NOTHING): Promise<Scene> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(new TempFolder());
  const ca = testCa();
  const names = ['one.a.test', 'two.a.test', 'three.a.test'];
  const origin = stack.use(await startOrigin({ tls: { ca, names } }));
  const resolver = stack.use(await startResolver(Object.fromEntries(names.map((name) => [name, '127.0.0.1']))));
  folder.write('ca/.keep', '');
  const caFolder = join(folder.path, 'ca');
  folder.write('trust/.keep', '');
  const args = ['--ca-dir', caFolder, '--trust-dir', join(folder.path, 'trust'), '--log-level', 'debug'];
  const daemon = stack.use(
    await startDaemon({ rules, trust: ca.certPem, dnsServers: [resolver.address], args: [...args, '--workers', '2'] }),
  );
  return { daemon, origin, caFolder, folder, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function changed({ daemon }: Scene, ...args: readonly string[]): Promise<CaAnswer> {
  const { code, stdout, stderr } = await daemon.cli('ca', ...args, '--json');
  expect([stderr, code]).toEqual(['', 0]);
  return JSON.parse(stdout) as CaAnswer;
}

async function intercept(scene: Scene): Promise<void> {
  scene.daemon.folder.write('rules/rules.yaml', INTERCEPTING);
  expect((await scene.daemon.cli('rules', 'reload')).code).toBe(0);
}

/** What an agent may fetch. */
function fetched({ daemon }: Scene, accept?: string): Promise<{ status: number; type: string; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const headers = accept === undefined ? {} : { Accept: accept };
    http
      .get({ port: daemon.port, host: '127.0.0.1', path: '/ca.crt', headers, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const type = response.headers['content-type'] ?? '';
          resolve({ status: response.statusCode ?? 0, type, body: Buffer.concat(chunks) });
        });
      })
      .on('error', reject);
  });
}

async function trusted(scene: Scene): Promise<string> {
  return (await fetched(scene)).body.toString();
}

/** One handshake and one request; `ca` alone is trusted. */
async function statusOf({ daemon, origin }: Scene, ca: string, target: string, host = 'one.a.test'): Promise<number> {
  await using agent = await openHttps(daemon, `${host}:${origin.port}`, { ca });
  return (await agent.request({ target, headers: [`Host: ${host}:${origin.port}`] })).status;
}

function signerOf({ daemon }: Scene): number | undefined {
  try {
    return childNamed(daemon, 'signer');
  } catch {
    return undefined;
  }
}

/** A CA that OpenSSL made, and not we. */
async function makePair(folder: TempFolder, name: string, ...args: readonly string[]): Promise<[string, string]> {
  const [cert, key] = [join(folder.path, `${name}.crt`), join(folder.path, `${name}.key`)];
  const usual = args.some((arg) => arg.startsWith('basicConstraints'))
    ? []
    : ['-addext', 'basicConstraints=critical,CA:TRUE'];
  const algorithm = args.includes('-newkey') ? [] : ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  const made = await run('openssl', [
    ...[
      'req',
      '-x509',
      '-config',
      folder.write('openssl.cnf', '[req]\ndistinguished_name=dn\n[dn]\n'),
      '-nodes',
      '-days',
      '30',
    ],
    ...['-keyout', key, '-out', cert, '-subj', `/CN=${name}`, ...algorithm, ...usual, ...args],
  ]);
  expect([made.code, made.stderr.includes('rror')]).toEqual([0, false]);
  await run('chmod', ['600', key]);
  return [cert, key];
}

describe('the CA of a running daemon', () => {
  it('comes, is replaced and goes without a restart: no flow is lost, none slips, and leaves are made anew', async () => {
    await using scene = await withCaFolder();
    const { daemon, origin } = scene;
    expect([signerOf(scene), (await daemon.status()).ca_loaded, (await fetched(scene)).status]).toEqual([
      undefined,
      false,
      404,
    ]);
    await changed(scene, 'generate', '--algorithm', 'ecdsa');
    await intercept(scene);
    let ca = await trusted(scene);
    const first = ca;
    const load = underLoad(scene, () => ca);
    await using held = await openHttps(daemon, `one.a.test:${origin.port}`, { ca });
    const ask = async () =>
      (await held.request({ target: '/yes/held', headers: [`Host: one.a.test:${origin.port}`] })).status;
    expect(await ask()).toBe(200);

    const waiting = await changed(scene, 'generate', '--algorithm', 'ecdsa');
    expect([await ask(), waiting.next === null, waiting.previous]).toEqual([200, false, null]);
    ca = await trusted(scene); // as attach and watch install it
    expect(ca.startsWith(first) && ca.length > first.length).toBe(true);
    const [, second = ''] = ca.split(/(?<=-----END CERTIFICATE-----\n)/);
    expect(await statusOf(scene, first, '/yes')).toBe(200); // still signed by the old one
    await load.round();

    const rotated = await changed(scene, 'rotate');
    expect([rotated.fingerprint_sha256, rotated.next]).toEqual([waiting.next?.fingerprint_sha256, null]);
    expect(await statusOf(scene, second, '/yes')).toBe(200); // leaves of hosts that had one are the new CA's
    await expect(statusOf(scene, first, '/yes')).rejects.toThrow();
    expect(await ask()).toBe(200);
    await load.round();

    ca = second;
    expect((await changed(scene, 'delete', 'previous')).previous).toBeNull();
    expect([await trusted(scene), await ask()]).toEqual([second, 200]);
    const { asked, failures } = await load.end();
    expect(asked).toBeGreaterThan(20);
    expect(failures).toEqual([]);
    expect(origin.requests.all.filter(({ url }) => !url.startsWith('/yes'))).toEqual([]);
    const keys = readdirSync(scene.caFolder).filter((name) => !name.startsWith('.'));
    expect(keys.sort((a, b) => a.localeCompare(b))).toEqual(['ca.crt', 'ca.key']);
  }, 120_000);

  it('does not sign before the agents trust it: who does not is named, and by force it signs all the same', async () => {
    await using scene = await withCaFolder();
    const first = (await changed(scene, 'generate', '--algorithm', 'ecdsa')).fingerprint_sha256;
    const agent = (name: string, digit: string, trusts?: readonly (string | null | undefined)[]) => {
      return { id: digit.repeat(64), name, image: 'x', labels: {}, ip: `10.0.0.${digit}`, ...(trusts && { trusts }) };
    };
    const tell = async (...agents: readonly object[]) => {
      const told = await scene.daemon.cli('admin', 'POST', ADMIN_PATHS.agents, JSON.stringify({ agents }));
      expect([told.stderr, told.code]).toEqual(['', 0]);
    };
    const { next } = await changed(scene, 'generate', '--algorithm', 'ecdsa');
    await tell(agent('behind', '1', [first]), agent('ahead', '2', [first, next?.fingerprint_sha256]));
    await tell(agent('unseen', '3'), agent('no-ca', '4', []));
    const refused = await scene.daemon.cli('ca', 'rotate');
    expect([refused.code, refused.stderr]).toEqual([
      1,
      'outcall: agents do not trust the next CA yet (behind); outcall watch installs it within a minute, outcall attach at ' +
        'once; by force, their TLS to intercepted hosts fails until then\n',
    ]);
    expect((await changed(scene, 'status')).fingerprint_sha256).toBe(first);
    await tell(agent('behind', '1', [first, next?.fingerprint_sha256]));
    expect((await changed(scene, 'rotate')).fingerprint_sha256).toBe(next?.fingerprint_sha256);

    await changed(scene, 'delete', 'previous');
    const third = (await changed(scene, 'generate', '--algorithm', 'ecdsa')).next?.fingerprint_sha256;
    expect((await scene.daemon.cli('ca', 'rotate')).code).toBe(1);
    expect((await changed(scene, 'rotate', '--force')).fingerprint_sha256).toBe(third);
  });

  it('is deleted only when no rule intercepts; by force, the hosts of such rules are refused and never tunnelled', async () => {
    await using scene = await withCaFolder();
    const { daemon, origin } = scene;
    await changed(scene, 'generate', '--algorithm', 'ecdsa');
    await intercept(scene);
    const ca = await trusted(scene);
    expect(await statusOf(scene, ca, '/yes')).toBe(200);
    const signer = signerOf(scene) ?? 0;
    const refused = await daemon.cli('ca', 'delete', 'all');
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('rules intercept by this CA (only-a-path)'),
    ]);
    expect(await statusOf(scene, ca, '/yes')).toBe(200);

    expect((await changed(scene, 'delete', 'all', '--force')).loaded).toBe(false);
    const before = origin.connections;
    await expect(statusOf(scene, ca, '/yes')).rejects.toThrow();
    const record = await daemon.records.some(({ reason }) => reason === 'cert_gen_failed');
    expect(record).toMatchObject({ host: 'one.a.test', verdict: 'failed', taken: 'intercept' });
    expect(origin.requests.all.length).toBe(2);
    expect(before).toBeDefined();
    expect([isAlive(signer), readdirSync(scene.caFolder)]).toEqual([false, ['.keep']]);
    expect((await daemon.status()).reload_problems.map(({ rule }) => rule)).toEqual(['only-a-path']);

    await changed(scene, 'generate', '--algorithm', 'ecdsa');
    expect((await daemon.status()).reload_problems).toEqual([]);
    expect(await statusOf(scene, await trusted(scene), '/yes')).toBe(200);
  }, 60_000);

  it('is uploaded over the admin socket into the signer alone: no other process, answer, log or record has the key', async () => {
    await using scene = await withCaFolder();
    const { daemon, folder } = scene;
    const [cert, key] = await makePair(folder, 'mine');
    const answer = await changed(scene, 'upload', cert, key);
    expect(answer.fingerprint_sha256).toBe(new X509Certificate(readFileSync(cert)).fingerprint256);
    await intercept(scene);
    expect(await statusOf(scene, readFileSync(cert, 'utf8'), '/yes')).toBe(200);
    const secret = createPrivateKey(readFileSync(key)).export({ format: 'jwk' }).d ?? '';
    const number = Buffer.from(secret, 'base64url').reverse();
    const line = Buffer.from(readFileSync(key, 'latin1').split('\n')[1] ?? '');
    expect(memoryHolds(signerOf(scene) ?? 0, number)).toBe(true);
    for (const pid of [daemon.process.pid ?? 0, childNamed(daemon, 'worker-0')]) {
      expect(memoryHolds(pid, number)).toBe(false);
    }
    expect(memoryHolds(daemon.process.pid ?? 0, line)).toBe(false);
    const told = [
      answer,
      await daemon.cli('ca', 'status', '--json'),
      await daemon.cli('ca', 'bundle'),
      await trusted(scene),
    ];
    const written = JSON.stringify([told, daemon.log.all, daemon.records.all]);
    expect([written.includes(line.toString()), written.includes('PRIVATE KEY')]).toEqual([false, false]);
    expect(written).toContain(JSON.stringify(answer.subject));
  }, 90_000);

  it('is refused, with the reason, where what is uploaded is no CA that can be used; the one in use stays', async () => {
    await using scene = await withCaFolder();
    const { daemon, folder } = scene;
    const own = await changed(scene, 'generate', '--algorithm', 'ecdsa');
    const [cert, key] = await makePair(folder, 'good');
    const [, strange] = await makePair(folder, 'other');
    const [weakCert, weakKey] = await makePair(folder, 'weak', '-newkey', 'rsa:1024');
    const [leafCert, leafKey] = await makePair(folder, 'leaf', '-addext', 'basicConstraints=critical,CA:FALSE');
    const [mute, muteKey] = await makePair(folder, 'mute', '-addext', 'keyUsage=critical,digitalSignature');
    const [ed, edKey] = await makePair(folder, 'ed', '-newkey', 'ed25519');
    const elevenYearsAgo = Date.now() - 11 * YEAR_MS;
    const { cert: late, key: lateKey } = (
      await initCa(join(folder.path, 'late'), { algorithm: 'ecdsa', force: false, now: elevenYearsAgo })
    ).paths;
    const locked = join(folder.path, 'locked.key');
    await run('openssl', ['pkcs8', '-topk8', '-in', key, '-out', locked, '-passout', 'pass:x', '-v2', 'aes128']);
    await run('chmod', ['600', locked]);
    const open = folder.write('open.key', readFileSync(key, 'utf8'));
    await run('chmod', ['644', open]);
    const twice = folder.write('twice.crt', readFileSync(cert, 'utf8').repeat(2));
    const cases: readonly (readonly [string, string, string])[] = [
      [cert, strange, 'CA key that was sent does not belong to the CA certificate'],
      [weakCert, weakKey, 'has an RSA key of 1024 bits; 2048 or more are needed'],
      [leafCert, leafKey, 'may not sign certificates'],
      [mute, muteKey, 'may not sign certificates'],
      [ed, edKey, 'has a key of type ed25519'],
      [late, lateKey, 'expired at'],
      [cert, locked, 'is encrypted; it must be unencrypted PEM'],
      [twice, key, 'one CA certificate in PEM is needed, but what was sent has 2'],
      [folder.write('text.crt', 'no PEM'), key, 'one CA certificate in PEM is needed, but what was sent has 0'],
      [cert, open, `has mode 0644; it must be 0600`],
      ['/nonexistent', key, 'cannot read CA certificate: /nonexistent: ENOENT'],
    ];
    for (const [badCert, badKey, words] of cases) {
      const { code, stderr } = await daemon.cli('ca', 'upload', badCert, badKey);
      expect([code, stderr]).toEqual([1, expect.stringContaining(words)]);
    }
    expect(await changed(scene, 'status')).toMatchObject({ fingerprint_sha256: own.fingerprint_sha256, next: null });
    expect((await changed(scene, 'upload', cert, key)).next).not.toBeNull(); // the twin of all of them
    expect((await daemon.cli('ca', 'upload', cert, key)).stderr).toContain('a next CA waits already');
  }, 60_000);

  it('takes no key without the answer 101, nor one that is cut short or without end', async () => {
    await using scene = await withCaFolder();
    const { daemon, folder } = scene;
    const [cert, key] = await makePair(folder, 'mine');
    const material = readFileSync(cert, 'latin1') + readFileSync(key, 'latin1');
    const head = (fields: string) => `POST ${ADMIN_PATHS.caUpload} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`;
    const upgrade = `Connection: Upgrade\r\nUpgrade: ${CA_UPLOAD_PROTOCOL}\r\n`;
    const plain = await sent(daemon, head(`Content-Length: ${material.length}\r\n`) + material);
    expect(plain).toContain(' 426 ');
    expect(await sent(daemon, head(upgrade) + material)).toContain('use that key no more');
    expect(await sent(daemon, head('Connection: Upgrade\r\nUpgrade: websocket\r\n'))).toContain(' 400 ');
    expect(await sent(daemon, head(upgrade), material.slice(0, -40))).toContain('has no END line');
    expect(await sent(daemon, head(upgrade), 'x'.repeat(70_000))).toContain('is larger than 65536 bytes');
    expect(await sent(daemon, head(upgrade), readFileSync(cert, 'latin1'))).toContain('one CA key in PEM is needed');
    expect(await sent(daemon, head(upgrade), '')).toContain('one CA certificate in PEM is needed');
    expect(await changed(scene, 'generate', '--algorithm', 'ecdsa')).toMatchObject({ loaded: true, next: null });
    expect(JSON.parse((await sent(daemon, head(upgrade), material)).split('\r\n\r\n')[1] ?? '')).toMatchObject({
      next: { subject: 'CN=mine' },
    });
  });

  it('is for agents to fetch, in PEM or DER, and lies in the folder that they mount', async () => {
    await using scene = await withCaFolder();
    await changed(scene, 'generate', '--algorithm', 'ecdsa');
    await changed(scene, 'generate', '--algorithm', 'ecdsa');
    const bundle = (await scene.daemon.cli('ca', 'bundle')).stdout;
    const pem = await fetched(scene);
    expect([pem.status, pem.type, pem.body.toString()]).toEqual([200, 'application/pem-certificate-chain', bundle]);
    const der = await fetched(scene, 'application/pkix-cert');
    expect([der.status, der.type]).toEqual([200, 'application/pkix-cert']);
    expect(new X509Certificate(der.body).fingerprint256).toBe(new X509Certificate(bundle).fingerprint256);
    const mounted = (name: string) => readFileSync(join(scene.folder.path, 'trust', name), 'utf8');
    expect(mounted('ca.crt')).toBe(bundle);
    expect([mounted('bundle.crt').endsWith(bundle), mounted('bundle.crt').length > 100_000]).toEqual([true, true]);
  });

  it('is one that its files hold where --ca-cert names them: it is not changed here', async () => {
    await using daemon = await startDaemon({ rules: NOTHING, ca: true });
    const { code, stderr } = await daemon.cli('ca', 'generate');
    expect([code, stderr]).toEqual([1, expect.stringContaining('start it with --ca-dir')]);
  });
});

/** Everything that comes back: `rest` is sent after the first answer, and then the direction is closed. */
function sent(daemon: TestDaemon, head: string, rest?: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ path: daemon.adminSocket, allowHalfOpen: true });
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      if (text === '' && rest !== undefined) socket.end(rest);
      text += chunk;
    });
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(text));
    socket.write(head);
    if (rest === undefined) socket.end();
  });
}

interface Load {
  /** Resolves when each client has made one more handshake than now. */
  round(): Promise<void>;
  end(): Promise<{ asked: number; failures: readonly unknown[] }>;
}

/** Four agents who connect again and again, one of them to be refused each time. */
function underLoad(scene: Scene, ca: () => string): Load {
  const failures: unknown[] = [];
  const counts = [0, 0, 0, 0];
  let over = false;
  let onAsked: (() => void) | undefined;
  const clients = counts.map(async (_, i) => {
    const [target, wanted] = i === 0 ? ['/no', 403] : ['/yes', 200];
    while (!over) {
      const host = ['one', 'two', 'three'][(counts[i] as number) % 3];
      const status = await statusOf(scene, ca(), String(target), `${host}.a.test`).catch((error: unknown) => error);
      if (status !== wanted) failures.push(status);
      counts[i] = (counts[i] as number) + 1;
      onAsked?.();
    }
  });
  return {
    async round() {
      const goal = counts.map((count) => count + 2);
      const { promise, resolve } = Promise.withResolvers<void>();
      onAsked = () => counts.every((count, i) => count >= (goal[i] as number)) && resolve();
      await promise;
    },
    async end() {
      over = true;
      await Promise.all(clients);
      return { asked: counts.reduce((sum, count) => sum + count, 0), failures };
    },
  };
}
