import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { AdminToken, readToken } from '../../../src/admin/token.ts';
import { TempFolder } from '../../kit/temp.ts';

const TEXT = 'a1'.repeat(32);

function tokenFile(folder: TempFolder, text: string, mode = 0o600): string {
  const file = folder.write('token', text);
  fs.chmodSync(file, mode);
  return file;
}

describe('the token of the admin API', () => {
  it.each([`Bearer ${TEXT}`, `bearer ${TEXT}`])('is taken from %s, and from nothing like it', (header) => {
    const token = new AdminToken(TEXT);
    expect(token.isIn(header)).toBe(true);
    const wrong = [undefined, '', 'Bearer', 'Bearer ', TEXT, `Basic ${TEXT}`, `Bearer ${TEXT}x`, `Bearer ${TEXT} x`];
    for (const other of [...wrong, `Bearer ${TEXT.slice(1)}`, `Bearer ${TEXT.toUpperCase()}`]) {
      expect(token.isIn(other)).toBe(false);
    }
  });

  it('is read from a file of mode 0600 or narrower, with or without its line feed', () => {
    using folder = new TempFolder();
    for (const [text, mode] of [
      [TEXT, 0o600],
      [`${TEXT}\n`, 0o400],
      [`${TEXT}\r\n`, 0o600],
    ] as const) {
      expect(readToken(tokenFile(folder, text, mode)).isIn(`Bearer ${TEXT}`)).toBe(true);
    }
  });

  it.each([
    ['a mode of 0640', TEXT, 0o640, /has mode 0640, so others may read it; chmod 0600/],
    ['a mode of 0604', TEXT, 0o604, /has mode 0604/],
    [
      'a token of 31 characters',
      TEXT.slice(0, 31),
      0o600,
      /holds 31 characters, and a token has at least 32; .*openssl/,
    ],
    ['nothing in it', '\n', 0o600, /does not hold one line/],
    ['two lines', `${TEXT}\n${TEXT}\n`, 0o600, /does not hold one line/],
    ['a blank in it', `${TEXT} x`, 0o600, /does not hold one line/],
    ['more than a token', TEXT.repeat(100), 0o600, /is larger than 4096 bytes/],
  ])('is not read from a file with %s', (_what, text, mode, message) => {
    using folder = new TempFolder();
    expect(() => readToken(tokenFile(folder, text, mode))).toThrow(message);
    expect(readToken(tokenFile(folder, TEXT))).toBeInstanceOf(AdminToken);
  });

  it('is not read through a link, from a folder, or from where nothing is', () => {
    using folder = new TempFolder();
    const file = tokenFile(folder, TEXT);
    const link = path.join(folder.path, 'link');
    fs.symlinkSync(file, link);
    expect(() => readToken(link)).toThrow('cannot be read (a symbolic link)');
    expect(() => readToken(folder.path)).toThrow('is no regular file');
    expect(() => readToken(path.join(folder.path, 'none'))).toThrow('cannot be read (ENOENT)');
    expect(readToken(file).isIn(`Bearer ${TEXT}`)).toBe(true);
  });
});
