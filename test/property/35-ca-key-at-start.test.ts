/**
 * Property 35, as an operator meets it: outcalld does not start with a CA key that others may read or that is not the
 * certificate's, names what is wrong, and never writes a line of the key anywhere. Memory: test/unit/pki/key-memory.test.ts.
 */
import { chmodSync, copyFileSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { initCa } from '../../src/pki/ca-files.ts';
import { openHttps } from '../kit/agent.ts';
import { outcall, spawnDaemon, startDaemon } from '../kit/daemon.ts';
import { startOrigin } from '../kit/origin.ts';
import { testCa } from '../kit/pki.ts';
import { startResolver } from '../kit/resolver.ts';
import { rulesFile } from '../kit/rules.ts';
import { TempFolder } from '../kit/temp.ts';

const RULES = rulesFile(
  '{ id: api, condition: \'http.host == "api.test" && http.path == "/ok"\', action: allow, egress: { mode: intercept } }',
);

/** Ten of these, and a CA has expired. */
const YEAR_MS = 366 * 86_400_000;

interface Ca {
  readonly folder: TempFolder;
  readonly cert: string;
  readonly key: string;
}

async function makeCa(folder: TempFolder, name = 'ca'): Promise<Ca> {
  const out = join(folder.path, name);
  expect((await outcall(['ca', 'init', '--out', out, '--algorithm', 'ecdsa'])).code).toBe(0);
  return { folder, cert: join(out, 'ca.crt'), key: join(out, 'ca.key') };
}

type Spoil = (ca: Ca) => Promise<Partial<Ca>> | Partial<Ca>;

const SPOILT: readonly (readonly [string, Spoil, (ca: Ca) => string])[] = [
  ['is missing', () => ({ key: '/nonexistent/ca.key' }), () => 'cannot read CA key: /nonexistent/ca.key: ENOENT'],
  [
    'others may read',
    ({ key }) => {
      chmodSync(key, 0o644);
      return {};
    },
    ({ key }) => `CA key ${key} has mode 0644; it must be 0600: chmod 600 ${key}`,
  ],
  [
    'its group may read',
    ({ key }) => {
      chmodSync(key, 0o640);
      return {};
    },
    ({ key }) => `CA key ${key} has mode 0640; it must be 0600: chmod 600 ${key}`,
  ],
  [
    'is a symbolic link',
    ({ folder, key }) => {
      const link = join(folder.path, 'link.key');
      symlinkSync(key, link);
      return { key: link };
    },
    ({ folder }) => `CA key ${join(folder.path, 'link.key')} is a symbolic link; name the file itself`,
  ],
  [
    'belongs to another certificate',
    async ({ folder, key }) => {
      copyFileSync((await makeCa(folder, 'other')).key, key);
      return {};
    },
    ({ key }) => `CA key ${key} does not belong to the CA certificate`,
  ],
  [
    'belongs to a certificate that has expired',
    async ({ folder }) => {
      const elevenYearsAgo = Date.now() - 11 * YEAR_MS;
      const { cert, key } = (
        await initCa(join(folder.path, 'old'), { algorithm: 'ecdsa', force: false, now: elevenYearsAgo })
      ).paths;
      return { cert, key };
    },
    ({ folder }) => `CA certificate ${join(folder.path, 'old', 'ca.crt')} expired at `,
  ],
];

describe('outcalld', () => {
  it.each(SPOILT)('does not start with a CA key that %s, and says so', async (_, spoil, message) => {
    using folder = new TempFolder();
    const ca = await makeCa(folder);
    const { cert, key } = { ...ca, ...(await spoil(ca)) };
    await using daemon = await spawnDaemon({ rules: RULES, args: ['--ca-cert', cert, '--ca-key', key] });
    expect(await daemon.exited).toBe(1);
    expect(daemon.log.all.map(({ msg }) => msg).join('\n')).toContain(message(ca));
    expect(daemon.records.count).toBe(0);
  });

  it('starts with a key of mode 0600, intercepts with it, and writes no line of it to log, records or API', async () => {
    using folder = new TempFolder();
    const { cert, key } = await makeCa(folder);
    const originCa = testCa();
    await using origin = await startOrigin({ tls: { ca: originCa, names: ['api.test'] } });
    await using resolver = await startResolver({ 'api.test': '127.0.0.1' });
    await using daemon = await startDaemon({
      rules: RULES,
      trust: originCa.certPem,
      dnsServers: [resolver.address],
      args: ['--ca-cert', cert, '--ca-key', key, '--log-level', 'debug'],
    });
    for (const [target, status] of [
      ['/ok', 200],
      ['/no', 403],
    ] as const) {
      const ca = readFileSync(cert, 'utf8');
      await using agent = await openHttps(daemon, `api.test:${origin.port}`, { ca });
      expect((await agent.request({ target, headers: ['Host: api.test'] })).status).toBe(status);
    }
    const answers = await Promise.all([
      daemon.cli('ca', 'status', '--json'),
      daemon.cli('ca', 'bundle'),
      daemon.cli('status', '--json'),
      daemon.cli('logs', '--json'),
    ]);
    expect(answers.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    expect(await daemon.stop()).toBe(0);
    const written = JSON.stringify([daemon.log.all, daemon.records.all, answers]);
    expect(written).toContain('leaf_generated');
    const lines = readFileSync(key, 'utf8').trim().split('\n').slice(1, -1);
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.filter((line) => written.includes(line))).toEqual([]);
    expect(written).not.toContain('PRIVATE KEY');
  });
});
