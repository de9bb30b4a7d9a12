import { describe, expect, it } from 'vitest';
import { createLog } from '../../../src/audit/log.ts';
import type { RulesPayload } from '../../../src/daemon/messages.ts';
import { RulesKeeper } from '../../../src/daemon/rules-keeper.ts';
import { TempFolder } from '../../kit/temp.ts';

const allow = (host: string, mode = 'proxy') => `version: "1"
rules:
  - id: only
    condition: http.host == "${host}"
    action: allow
    egress: { mode: ${mode} }
`;
const BAD = 'version: "1"\nrulez: []\n';

function keeperOf(
  folder: TempFolder,
  caLoaded = false,
  enforcement: 'enforce' | 'audit' = 'enforce',
): { keeper: RulesKeeper; given: RulesPayload[]; lines: string[] } {
  const given: RulesPayload[] = [];
  const lines: string[] = [];
  const log = createLog({ level: 'info', name: 'test', stream: { write: (line) => lines.push(line) } });
  const distribute = async (payload: RulesPayload) => void given.push(payload);
  const taken = async () => undefined;
  const ca = () => ({ loaded: caLoaded, constraints: undefined });
  const options = { path: folder.path, ca, enforcement, log, distribute, taken };
  return { keeper: new RulesKeeper(options), given, lines };
}

describe('RulesKeeper', () => {
  it('gives a good set to all processes before it is in force, under a new generation each time', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', allow('one.test'));
    const { keeper, given } = keeperOf(folder);
    expect(await keeper.reload(true)).toMatchObject({ ok: true });
    expect(keeper.inForce?.payload.generation).toBe(1);
    folder.write('a.yaml', allow('two.test'));
    await keeper.reload(false);
    expect(given.map(({ generation, sources }) => [generation, sources[0]?.text])).toEqual([
      [1, allow('one.test')],
      [2, allow('two.test')],
    ]);
    expect(keeper.inForce?.rules.rules[0]?.condition).toContain('two.test');
  });

  it('says loudly, with each set, that it is in audit, and hands that on to every process', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', allow('one.test'));
    const warned = (lines: readonly string[]) => lines.filter((line) => line.includes('"audit_mode"'));
    const audit = keeperOf(folder, false, 'audit');
    await audit.keeper.reload(true);
    await audit.keeper.reload(true);
    expect(warned(audit.lines)).toHaveLength(2);
    expect(JSON.parse(warned(audit.lines)[0] ?? '')).toMatchObject({
      level: 'warn',
      enforcement: 'audit',
      rules_in_audit: 1,
    });
    expect(audit.given.map(({ enforcement }) => enforcement)).toEqual(['audit', 'audit']);
    const enforce = keeperOf(folder);
    await enforce.keeper.reload(true);
    expect(warned(enforce.lines)).toEqual([]);
  });

  it('keeps the old set when the new one is bad, gives it to nobody, and remembers why', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', allow('one.test'));
    const { keeper, given, lines } = keeperOf(folder);
    await keeper.reload(true);
    folder.write('a.yaml', BAD);
    const outcome = await keeper.reload(false);
    expect(outcome).toMatchObject({ ok: false, problems: [{ severity: 'error', value: 'rulez' }] });
    expect(keeper.inForce?.payload.generation).toBe(1);
    expect(keeper.problems.length).toBeGreaterThan(0);
    expect(given).toHaveLength(1);
    expect(lines.some((line) => line.includes('rules_refused'))).toBe(true);
    folder.write('a.yaml', allow('one.test'));
    expect(await keeper.reload(false)).toMatchObject({ ok: true });
    expect(keeper.problems).toEqual([]);
    expect(keeper.inForce?.payload.generation).toBe(2);
  });

  it.each([
    ['emptied folder', (f: TempFolder) => f[Symbol.dispose]()],
    ['file that became unreadable text', (f: TempFolder) => f.write('a.yaml', Buffer.from([0xff]))],
    ['second file with a mistake', (f: TempFolder) => f.write('b.yaml', BAD)],
    ['same rule id in two files', (f: TempFolder) => f.write('b.yaml', allow('x.test'))],
  ])('keeps the old set on an %s', async (_, spoil) => {
    using folder = new TempFolder();
    folder.write('a.yaml', allow('one.test'));
    const { keeper, given } = keeperOf(folder);
    await keeper.reload(true);
    spoil(folder);
    expect(await keeper.reload(false)).toMatchObject({ ok: false });
    expect(keeper.inForce?.payload.generation).toBe(1);
    expect(given).toHaveLength(1);
  });

  it('has nothing in force when the first set is bad', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', BAD);
    const { keeper, given } = keeperOf(folder);
    expect(await keeper.reload(true)).toMatchObject({ ok: false });
    expect(keeper.inForce).toBeUndefined();
    expect(given).toEqual([]);
  });

  it('refuses mode: intercept without a CA and takes it with one', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', allow('one.test', 'intercept'));
    expect(await keeperOf(folder).keeper.reload(true)).toMatchObject({ ok: false });
    expect(await keeperOf(folder, true).keeper.reload(true)).toMatchObject({ ok: true });
  });

  it('does nothing for files that have not changed, unless told to', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', allow('one.test'));
    const { keeper, given } = keeperOf(folder);
    await keeper.reload(true);
    await keeper.reload(false);
    expect(given).toHaveLength(1);
    await keeper.reload(true);
    expect(given).toHaveLength(2);
  });

  it('logs a bad set once, however often it is looked at', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', allow('one.test'));
    const { keeper, lines } = keeperOf(folder);
    await keeper.reload(true);
    folder.write('a.yaml', BAD);
    for (let i = 0; i < 3; i++) expect(await keeper.reload(false)).toMatchObject({ ok: false });
    expect(lines.filter((line) => line.includes('rules_refused'))).toHaveLength(1);
  });

  it('takes reloads one after the other', async () => {
    using folder = new TempFolder();
    folder.write('a.yaml', allow('one.test'));
    const { keeper } = keeperOf(folder);
    const outcomes = await Promise.all([keeper.reload(true), keeper.reload(true), keeper.reload(true)]);
    expect(outcomes.map((outcome) => outcome.ok && outcome.inForce.payload.generation)).toEqual([1, 2, 3]);
  });
});
