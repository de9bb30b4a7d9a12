import { describe, expect, it } from 'vitest';
import { encodeName, readName, skipPlainName } from '../../../src/wire/dns-name.ts';
import { pointerTo, wireName } from '../../kit/dns-message.ts';

const HEADER = Buffer.alloc(12);
const LONGEST = [63, 63, 63, 61].map((n) => 'a'.repeat(n)).join('.');

function read(...parts: readonly Buffer[]) {
  return readName(Buffer.concat([HEADER, ...parts]), 12);
}

describe('readName', () => {
  it('reads labels as lower-case text with dots, and tells where it ended', () => {
    expect(read(wireName('WWW.Example.com'), Buffer.from('next'))).toEqual({
      text: 'www.example.com',
      plain: true,
      end: 12 + 17,
    });
    expect(read(wireName(''))).toEqual({ text: '', plain: true, end: 13 });
    expect(read(wireName('_http._tcp.a-b.test'))?.plain).toBe(true);
  });

  it('follows pointers backwards, and ends where the first one stands', () => {
    const message = Buffer.concat([HEADER, wireName('example.com'), Buffer.from('\x03www'), pointerTo(12)]);
    expect(readName(message, 25)).toEqual({ text: 'www.example.com', plain: true, end: 31 });
    const twice = Buffer.concat([message, Buffer.from('\x01a'), pointerTo(25)]);
    expect(readName(twice, 31)).toEqual({ text: 'a.www.example.com', plain: true, end: 35 });
  });

  it.each([
    ['to itself', pointerTo(12)],
    ['to itself by way of a label', Buffer.concat([Buffer.from('\x01a'), pointerTo(12)])],
    ['forwards', Buffer.concat([pointerTo(14), wireName('a')])],
    ['into the header', pointerTo(4)],
    ['past the end', pointerTo(400)],
    ['nowhere, being cut short', Buffer.from([0xc0])],
  ])('refuses a pointer that leads %s', (_what, bytes) => {
    expect(read(bytes)).toBeUndefined();
  });

  it('refuses two pointers that lead to each other', () => {
    const loop = Buffer.concat([HEADER, Buffer.from('\x01a'), pointerTo(16), Buffer.from('\x01b'), pointerTo(12)]);
    expect(readName(loop, 12)).toBeUndefined();
    expect(readName(loop, 16)).toBeUndefined();
  });

  it('refuses a longer chain of pointers than anybody needs', () => {
    const chain = (pointers: number) =>
      Buffer.concat([
        HEADER,
        wireName('a'),
        ...Array.from({ length: pointers }, (_, i) => pointerTo(i === 0 ? 12 : 13 + 2 * i)),
      ]);
    expect(readName(chain(16), 13 + 2 * 16)?.text).toBe('a');
    expect(readName(chain(17), 13 + 2 * 17)).toBeUndefined();
  });

  it('takes 63 octets in a label and 255 in a name, and no more', () => {
    expect(read(wireName('a'.repeat(63)))?.text).toBe('a'.repeat(63));
    expect(read(Buffer.from([64]), Buffer.alloc(64, 'a'), Buffer.from([0]))).toBeUndefined();
    expect(read(wireName(LONGEST))?.text).toHaveLength(253);
    expect(read(wireName(`${LONGEST}a`))).toBeUndefined();
  });

  it('counts the octets behind pointers too', () => {
    const message = Buffer.concat([HEADER, wireName(LONGEST), Buffer.from('\x01a'), pointerTo(12)]);
    expect(readName(message, 12)?.text).toBe(LONGEST);
    expect(readName(message, 12 + 255)).toBeUndefined();
  });

  it.each([0x40, 0x80, 0xbf])('refuses the label type of byte %i', (length) => {
    expect(read(Buffer.from([length]), Buffer.alloc(200))).toBeUndefined();
  });

  it('refuses what is cut short at any place', () => {
    const whole = Buffer.concat([HEADER, wireName('www.example.com')]);
    for (let end = 12; end < whole.length; end++) expect(readName(whole.subarray(0, end), 12)).toBeUndefined();
    expect(readName(whole, 12)?.text).toBe('www.example.com');
  });

  it.each([
    ['a NUL', 'a\0b.test', 'a\\000b.test'],
    ['a space', 'a b.test', 'a\\032b.test'],
    ['a byte above ASCII', '\xe4.test', '\\228.test'],
    ['a backslash', 'a\\b.test', 'a\\\\b.test'],
    ['a slash', 'a/b.test', 'a/b.test'],
  ])('says that a name with %s is not plain', (_what, name, text) => {
    expect(read(wireName(name))).toMatchObject({ plain: false, text });
    expect(read(wireName('ab.test'))).toMatchObject({ plain: true });
  });

  it('does not take a dot inside a label for the end of one', () => {
    const dotted = read(Buffer.from('\x06a.test\x00', 'latin1'));
    expect(dotted).toMatchObject({ plain: false, text: 'a\\.test' });
    expect(read(wireName('a.test'))).toMatchObject({ plain: true, text: 'a.test' });
  });
});

describe('skipPlainName', () => {
  it('ends where readName ends, and refuses pointers', () => {
    for (const name of ['', 'a', 'www.example.com', LONGEST]) {
      const message = Buffer.concat([HEADER, wireName(name)]);
      expect(skipPlainName(message, 12)).toBe(message.length);
      for (let end = 12; end < message.length; end++) expect(skipPlainName(message.subarray(0, end), 12)).toBe(-1);
    }
    const pointed = Buffer.concat([HEADER, wireName('a'), Buffer.from('\x01b'), pointerTo(12)]);
    expect(skipPlainName(pointed, 15)).toBe(-1);
    expect(skipPlainName(Buffer.concat([HEADER, wireName(`${LONGEST}a`)]), 12)).toBe(-1);
  });
});

describe('encodeName', () => {
  it.each(['', 'a', 'a.b', 'www.example.com', '_dmarc.example.com', LONGEST])('writes %j as labels', (name) => {
    expect(encodeName(name)).toEqual(wireName(name));
  });
});
