import { chmodSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createLog } from '../../../src/audit/log.ts';
import { AgentsFile } from '../../../src/daemon/agents-file.ts';
import { TempFolder } from '../../kit/temp.ts';

const ENTRY = { id: 'a'.repeat(64), name: 'web', image: 'debian', labels: { team: 'x' }, ip: '10.203.0.20' };
const FIXED = { ...ENTRY, id: 'b'.repeat(64), ip: '10.203.0.30', fixed: true as const };

function fileIn(folder: TempFolder): { readonly file: AgentsFile; readonly path: string; readonly events: string[] } {
  const events: string[] = [];
  const write = (line: string) => events.push((JSON.parse(line) as { event: string }).event);
  const log = createLog({ level: 'info', name: 'test', stream: { write } });
  const path = join(folder.path, 'agents.json');
  return { file: new AgentsFile(path, log), path, events };
}

describe('the file of agents', () => {
  it('gives a new daemon who has an address of its own, and not who was given one by the engine', () => {
    using folder = new TempFolder();
    const { file, path, events } = fileIn(folder);
    expect(file.read()).toEqual([]);
    file.write([ENTRY, FIXED]);
    expect(fileIn(folder).file.read()).toEqual([FIXED]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    file.write([ENTRY]);
    expect(fileIn(folder).file.read()).toEqual([]);
    expect(events).toEqual([]);
  });

  it.each([
    ['cut short', '{"agents":[{"id":"'],
    ['of another shape', '[]'],
    ['with an entry of another shape', JSON.stringify({ agents: [{ ...FIXED, ip: 'anybody' }] })],
    ['empty', ''],
  ])('that is %s is nobody, says so, and is written anew', (_what, text) => {
    using folder = new TempFolder();
    folder.write('agents.json', text);
    const { file, events } = fileIn(folder);
    expect(file.read()).toEqual([]);
    expect(events).toEqual(['agents_not_read']);
    file.write([FIXED]);
    expect(fileIn(folder).file.read()).toEqual([FIXED]);
  });

  it('says that it cannot be written, and leaves what was there', () => {
    using folder = new TempFolder();
    const { file, path, events } = fileIn(folder);
    file.write([FIXED]);
    const before = readFileSync(path, 'utf8');
    mkdirSync(`${path}.new`);
    chmodSync(`${path}.new`, 0o500);
    file.write([]);
    expect(events).toEqual(['agents_not_kept']);
    expect(readFileSync(path, 'utf8')).toBe(before);
  });
});
