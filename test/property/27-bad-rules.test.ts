/**
 * Property 27: bad rules allow nothing. The real daemon with rules that are empty, missing, unreadable or misspelt either
 * refuses everything or does not start; a bad reload keeps the set that is in force. Asserted at the origin.
 */
import { chmodSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openAgent } from '../kit/agent.ts';
import { spawnDaemon, startDaemon, type TestDaemon } from '../kit/daemon.ts';
import { type Origin, startOrigin } from '../kit/origin.ts';
import { rulesFile } from '../kit/rules.ts';

const GOOD = rulesFile(
  '{ id: ok, condition: \'http.host == "127.0.0.1" && http.path == "/ok"\', action: allow, egress: { allow_private_ips: true } }',
);

const MISTAKES: readonly (readonly [string, string])[] = [
  ['an empty file', ''],
  ['nothing but white space and comments', '# rules to come\n\n'],
  ['a misspelt key of the file', GOOD.replace('rules:', 'rule:')],
  ['a misspelt key of a rule', GOOD.replace('condition:', 'conditon:')],
  ['a misspelt name in a condition', GOOD.replace('http.path', 'http.pth')],
  ['a misspelt action', GOOD.replace('action: allow', 'action: alow')],
  ['a misspelt mode', GOOD.replace('egress: {', 'egress: { mode: intercpt,')],
  ['another version', GOOD.replace('version: "1"', 'version: "2"')],
  ['no YAML at all', '{ rules: ['],
  ['one bad rule after a good one', `${GOOD}  - { id: bad, condition: 'true' }\n`],
  ['the same id twice', GOOD + GOOD.slice(GOOD.indexOf('  - '))],
  ['an alias', GOOD.replace('version: "1"', 'version: &one "1"')],
];

async function statusOf(daemon: TestDaemon, origin: Origin, path: string): Promise<number> {
  await using agent = await openAgent(daemon);
  return (await agent.request({ target: `http://${origin.address}${path}`, headers: [`Host: ${origin.address}`] }))
    .status;
}

/** Statuses of what the good rules allow and of what no rule ever allowed. */
async function decided(daemon: TestDaemon, origin: Origin): Promise<readonly number[]> {
  return [await statusOf(daemon, origin, '/ok'), await statusOf(daemon, origin, '/never')];
}

describe('a daemon', () => {
  it.each([...MISTAKES, ['a folder without rule files', undefined] as const])(
    'with %s does not start, so that nothing goes out',
    async (_, text) => {
      await using daemon = await spawnDaemon({ rules: text === undefined ? { 'notes.txt': GOOD } : text });
      expect(await daemon.exited).toBe(1);
      expect(daemon.log.all.map(({ msg }) => msg).join('\n')).toMatch(/rules/);
    },
  );

  it('with no rules in a file that is right starts, says so, and refuses everything', async () => {
    await using origin = await startOrigin();
    await using daemon = await startDaemon({ rules: 'version: "1"\nrules: []\n' });
    expect(await decided(daemon, origin)).toEqual([403, 403]);
    expect(origin.connections).toBe(0);
    expect(daemon.log.all.map(({ msg }) => msg).join('\n')).toContain('allows nothing');
    daemon.folder.write('rules/rules.yaml', GOOD);
    expect((await daemon.cli('rules', 'reload')).code).toBe(0);
    expect(await decided(daemon, origin)).toEqual([200, 403]);
  });
});

describe('a reload', () => {
  it('with any mistake keeps the set in force, whatever the mistake is, and a good one is taken', async () => {
    await using origin = await startOrigin();
    await using daemon = await startDaemon({ rules: GOOD });
    const broken: (readonly [string, () => void])[] = MISTAKES.map(([what, text]) => [
      what,
      () => void daemon.folder.write('rules/rules.yaml', text),
    ]);
    broken.push(['no file', () => rmSync(join(daemon.rulesFolder, 'rules.yaml'))]);
    broken.push(['no folder', () => renameSync(daemon.rulesFolder, `${daemon.rulesFolder}.away`)]);
    for (const [what, breakIt] of broken) {
      breakIt();
      const refused = await daemon.cli('rules', 'reload');
      expect([what, refused.code, await decided(daemon, origin)]).toEqual([what, 1, [200, 403]]);
    }
    expect((await daemon.status()).generation).toBe(1);
    expect(origin.heads.all.map(({ url }) => url)).not.toContain('/never');
    renameSync(`${daemon.rulesFolder}.away`, daemon.rulesFolder);
    daemon.folder.write('rules/rules.yaml', GOOD.replace('"/ok"', '"/never"'));
    expect((await daemon.cli('rules', 'reload')).code).toBe(0);
    expect(await decided(daemon, origin)).toEqual([403, 200]);
  });

  it('of a file that cannot be read keeps the set in force', async () => {
    await using origin = await startOrigin();
    await using daemon = await startDaemon({ rules: GOOD });
    const file = join(daemon.rulesFolder, 'rules.yaml');
    unlinkSync(file);
    // A folder in its place cannot be read as a file by anybody, root included.
    daemon.folder.write('rules/rules.yaml/inside', '');
    chmodSync(file, 0o700);
    const refused = await daemon.cli('rules', 'reload');
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('rules.yaml') });
    expect(await decided(daemon, origin)).toEqual([200, 403]);
  });
});
