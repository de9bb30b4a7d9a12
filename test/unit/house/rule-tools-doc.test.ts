import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../../src/domain/record.ts';
import { TempFolder } from '../../kit/temp.ts';
import { aRecord } from '../audit/a-record.ts';
import { runCli } from '../cli/run-cli.ts';
import { ROOT } from './test-titles.ts';

const PAGE = readFileSync(path.join(ROOT, 'docs/rule-tools.md'), 'utf8');
const PRESETS_PAGE = readFileSync(path.join(ROOT, 'docs/presets.md'), 'utf8');
const PRESETS = readdirSync(path.join(ROOT, 'compose/rules')).filter((name) => !name.endsWith('.test.yaml'));

/** What a session of an API's client left, as on the page. */
const RECORDS: readonly Partial<AuditRecord>[] = [
  { method: 'POST', path: '/v1/messages?beta=[redacted]' },
  { method: 'POST', path: '/v1/messages?beta=[redacted]' },
  { method: 'GET', path: '/v1/files/file_011CNha8iCJcU1wXNR6q4V8w' },
  { method: 'GET', path: '/v1/files/file_022DOib9jDKdV2xYOS7r5W9x' },
  {
    event: 'flow',
    host: 'pinned.example.com',
    method: 'CONNECT',
    path: null,
    scheme: null,
    taken: 'tunnel',
    mode: 'proxy',
  },
];

const folder = new TempFolder();
const yamlBlocks = [...PAGE.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text);
const [rulesText = '', casesText = '', suggestedText = ''] = yamlBlocks;

beforeAll(() => {
  folder.write('rules.yaml', rulesText);
  folder.write('rules.test.yaml', casesText);
  folder.write('new.yaml', rulesText.replace('"POST"', '"GET"'));
  const upstream = '93.184.216.34';
  const lines = RECORDS.map((fields) => `${JSON.stringify(aRecord({ upstream, ...fields }))}\n`);
  folder.write('records.jsonl', lines.join(''));
});
afterAll(() => folder[Symbol.dispose]());

/** The output that the page shows under a command. */
function shown(command: string): string {
  const start = PAGE.indexOf(`$ ${command}\n`);
  return start === -1 ? 'not on the page' : PAGE.slice(PAGE.indexOf('\n', start) + 1, PAGE.indexOf('```', start));
}

/** Runs what the page has, with its files. */
async function printed(command: string): Promise<string> {
  const [, ...args] = command.split(' ');
  const { out } = await runCli(...args.map((arg) => (/\.(yaml|jsonl)$/.test(arg) ? path.join(folder.path, arg) : arg)));
  return out.replaceAll(`${folder.path}/`, '');
}

describe('docs/rule-tools.md', () => {
  it.each([
    'outcall rules explain rules.yaml --host api.example.com --path /v1/messages',
    'outcall rules test rules.yaml',
    'outcall rules diff rules.yaml new.yaml records.jsonl',
  ])('shows what is printed by: %s', async (command) => {
    expect(shown(command)).toBe(await printed(command));
  });

  it('shows what is suggested', async () => {
    expect(suggestedText).toBe(await printed('outcall rules suggest records.jsonl'));
  });
});

describe('docs/presets.md', () => {
  it.each(PRESETS)(
    'names %s, which loads without a warning and whose every rule decides a case of its own',
    async (name) => {
      const file = path.join(ROOT, 'compose/rules', name);
      if (name !== 'quick-try.yaml') expect(PRESETS_PAGE).toContain(`](../compose/rules/${name})`);
      expect(await runCli('rules', 'check', file)).toMatchObject({
        code: 0,
        out: expect.not.stringContaining('warning'),
      });
      const { code, out } = await runCli('rules', 'test', file, '--min-coverage', '100', '--json');
      const [{ cases }] = JSON.parse(out) as [{ cases: { verdict: string }[] }];
      expect({ code, verdicts: new Set(cases.map(({ verdict }) => verdict)) }).toEqual({
        code: 0,
        verdicts: new Set(['allow', 'block']),
      });
    },
  );

  it('says rightly that they go together', async () => {
    const together = path.join(ROOT, 'compose/rules');
    expect(await runCli('rules', 'check', together)).toMatchObject({ out: expect.not.stringContaining('warning') });
    expect(await runCli('rules', 'test', together, '--min-coverage', '100')).toMatchObject({ code: 0, err: '' });
  });
});
