/**
 * The signer killed, and its key away, so that none comes in its place: hosts without a leaf are refused and never relayed
 * instead, hosts with one and all other rules are served, and it recovers by itself (S011-FR-017; threat 36).
 */
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { run } from '../kit/run.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const RULES = rulesFile(
  `{ id: known, condition: 'http.host in ["api.test", "other.test"]', action: allow, egress: { mode: intercept } }`,
  `{ id: tunnel, condition: 'http.host == "tunnel.test"', action: allow }`,
);

async function ask(scene: ClientScene, host: string, caFile = scene.outcallCaFile): Promise<string> {
  const args = ['-q', '-sS', '--proxy', scene.proxyUrl, '--cacert', caFile, '-w', ' %{http_code}', scene.url(host)];
  return (await run('curl', args)).stdout;
}

describe('a signer that is killed', () => {
  it('and cannot come back leaves hosts without a leaf refused, never tunnelled; the rest is served; then it recovers', async () => {
    await using scene = await startClientScene({ rules: RULES });
    const { daemon, origin } = scene;
    expect(await ask(scene, 'api.test')).toBe('ok 200');
    const key = join(daemon.caFolder, 'ca.key');
    renameSync(key, `${key}.away`);
    process.kill(signerOf(scene), 'SIGKILL');
    await daemon.log.some(({ event }) => event === 'ca_unusable');

    const requests = origin.heads.count;
    expect(await ask(scene, 'other.test')).toBe(' 000');
    // Were it relayed unread, the origin's own certificate would have been good enough for this client.
    expect(await ask(scene, 'other.test', scene.originCaFile)).toBe(' 000');
    expect(origin.heads.count).toBe(requests);
    expect(await daemon.records.some(({ host }) => host === 'other.test')).toMatchObject({
      verdict: 'failed',
      reason: 'cert_gen_failed',
      rule: 'known',
    });
    expect(await ask(scene, 'api.test')).toBe('ok 200');
    expect(await ask(scene, 'tunnel.test', scene.originCaFile)).toBe('ok 200');

    renameSync(`${key}.away`, key);
    const loaded = daemon.log.all.filter(({ event }) => event === 'ca_loaded').length;
    expect(loaded).toBe(1);
    await daemon.log.next(({ event }) => event === 'ca_loaded');
    expect(await ask(scene, 'other.test')).toBe('ok 200');
    expect(await daemon.stop()).toBe(0);
  });
});

/** The child process of the daemon that calls itself signer. */
function signerOf({ daemon }: ClientScene): number {
  const { pid } = daemon.process;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return Number(children.find((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').startsWith('outcalld signer')));
}
