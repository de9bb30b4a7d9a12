import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineWriter } from '../../../src/audit/line-writer.ts';
import { RecordFeed } from '../../../src/audit/record-feed.ts';

let folder: string;
let file: string;
let fd: number;
let writer: LineWriter;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(tmpdir(), 'outcall-feed-'));
  file = path.join(folder, 'out');
  fd = fs.openSync(file, 'w');
  writer = new LineWriter(fd);
});

afterEach(async () => {
  await writer.flush();
  fs.closeSync(fd);
  fs.rmSync(folder, { recursive: true });
});

describe('RecordFeed', () => {
  it('passes on whole lines alone, however the workers’ output is cut', async () => {
    for (let cut = 1; cut < 12; cut++) {
      const feed = new RecordFeed(writer);
      const seen: string[] = [];
      feed.follow((lines) => seen.push(lines.toString()));
      const [a, b] = [feed.source(), feed.source()];
      const text = '{"a":1}\n{"a":2}\n';
      a(Buffer.from(text.slice(0, cut)));
      b(Buffer.from('{"b":1}\n'));
      a(Buffer.from(text.slice(cut)));
      expect(seen.every((lines) => lines.endsWith('\n'))).toBe(true);
      expect(seen.join('').split('\n').filter(Boolean).sort()).toEqual(['{"a":1}', '{"a":2}', '{"b":1}']);
    }
    await writer.flush();
    const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(11 * 3);
    expect(lines.every((line) => /^\{"[ab]":[12]\}$/.test(line))).toBe(true);
  });

  it('keeps the last thousand records and gives as many as are asked for, oldest first', () => {
    const feed = new RecordFeed(writer);
    const source = feed.source();
    for (let i = 0; i < 2_500; i += 2) source(Buffer.from(`${i}\n${i + 1}\n`));
    expect(feed.recent(3).toString()).toBe('2497\n2498\n2499\n');
    const all = feed.recent(1_000).toString().trimEnd().split('\n');
    expect(all).toHaveLength(1_000);
    expect(all[0]).toBe('1500');
    expect(feed.recent(0).toString()).toBe('');
  });

  it('keeps whole records, however many came before them', () => {
    const feed = new RecordFeed(writer);
    const source = feed.source();
    const line = (number: number): string => `${String(number).padStart(1_000, '.')}\n`;
    for (let from = 0; from < 10_000; from += 7) {
      source(Buffer.from(Array.from({ length: 7 }, (_, i) => line(from + i)).join('')));
      if (from % 490 !== 0) continue;
      const kept = feed.recent(10_000).toString().split('\n').slice(0, -1);
      expect(kept.every((text, i) => `${text}\n` === line(from + 7 - kept.length + i))).toBe(true);
      expect(kept.length).toBeGreaterThanOrEqual(Math.min(from + 7, 1_000));
    }
  });

  it('gives a follower what comes after it, until it ends', () => {
    const feed = new RecordFeed(writer);
    const source = feed.source();
    const seen: string[] = [];
    source(Buffer.from('before\n'));
    const unfollow = feed.follow((lines) => seen.push(lines.toString()));
    source(Buffer.from('during\n'));
    unfollow();
    source(Buffer.from('after\n'));
    expect(seen).toEqual(['during\n']);
  });

  it('forgets a worker’s line that never ends instead of keeping it', () => {
    const feed = new RecordFeed(writer);
    const source = feed.source();
    source(Buffer.alloc(1024 * 1024 + 1, 'x'));
    source(Buffer.from('{"whole":1}\n'));
    expect(feed.recent(10).toString()).toBe('{"whole":1}\n');
  });

  it('is full when standard output stalls, and not before', () => {
    const feed = new RecordFeed(writer);
    expect(feed.full).toBe(false);
    feed.source()(Buffer.concat([Buffer.alloc(1024 * 1024, 'x'), Buffer.from('\n')]));
    expect(feed.full).toBe(true);
  });
});
