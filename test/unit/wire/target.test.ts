import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normaliseTarget } from '../../../src/wire/target.ts';

/** `/a/b` with something between, so that each refusal has its twin. */
const good = (target: string) => expect(normaliseTarget(target)).toMatchObject({ ok: true });

describe('a request target', () => {
  it.each([
    '/',
    '//',
    '/a//b///',
    '/v1/messages?beta=true&x=%2F',
    '/.well-known/openid-configuration',
    '/a/.b/..c/d../e./...',
    '/a.b/c..d',
    '/@scope%2Fpackage',
    '/group%2Fproject/-/raw/main/a%20b',
    '/a;b=c;d/e',
    '/a?..&/../x\\y',
    '/a?x=%0D%0A%00',
    '/a?next=/../b/./c',
    '/a!$&\'()*+,:@|^`{}[]"<>~',
    '/%C3%A9',
    '/100%25',
    '/%25252F',
  ])('%s is kept as it is', (target) => {
    const result = normaliseTarget(target);
    expect(result).toEqual({ ok: true, value: target });
  });

  it.each([
    ['/%61dmin', '/admin'],
    ['/%41%5A%30%2D%5f%7e', '/AZ0-_~'],
    ['/file%2etxt', '/file.txt'],
    ['/%c3%a9', '/%C3%A9'],
    ['/a%2fb', '/a%2Fb'],
    ['/%2561', '/%2561'],
    ['/a?t=%74oken%2f', '/a?t=token%2F'],
    ['/%2Ewell-known/x', '/.well-known/x'],
    ['/a%3fb', '/a%3Fb'],
    ['/a?%2e%2e/', '/a?../'],
  ])('%s is forwarded as %s', (target, expected) => {
    expect(normaliseTarget(target)).toEqual({ ok: true, value: expected });
  });

  it.each([
    '/..',
    '/.',
    '/a/../b',
    '/a/./b',
    '/a/..',
    '/a/.',
    '/../../etc/passwd',
    '/a/..?x',
    '/a/..;/b',
    '/a/..;x=1/b',
    '/a/.;/b',
    '/%2e%2e/a',
    '/%2E%2e/a',
    '/.%2e/a',
    '/%2e./a',
    '/a/%2e',
    '/a/%2e?x',
    '/a%2f..%2fb',
    '/a%2f%2e%2e%2fb',
    '/a/..%2fb',
    '/a%2F..',
    '/a/..%3b/b',
    '/%252e%252e/a',
    '/%252e/a',
    '/a%252f..%252fb',
    '/a/%252e%252e%252fb',
    '/%25252e%25252e/a',
    '/a/.%252e/b',
    '/a/..%255cb',
    '/a%255c../b',
  ])('%s is refused for its dot segment, and dots inside a name are not', (target) => {
    expect(normaliseTarget(target)).toMatchObject({
      ok: false,
      detail: expect.stringContaining('dot segment in the'),
    });
    good('/a/..b/c../%2e%2ed/e');
  });

  it.each(['/a\\b', '/a%5cb', '/a%5Cb', '/\\..\\b'])('%s is refused for its backslash', (target) => {
    expect(normaliseTarget(target)).toMatchObject({ ok: false, detail: expect.stringContaining('backslash') });
    good('/a%2Fb');
  });

  it.each(['/%00', '/a%0d%0aX: y', '/a%09', '/a%1f', '/a%7f', '/a\0b', '/a\r\nb', '/a b', '/\x7f'])(
    '%j is refused for its control byte',
    (target) => {
      expect(normaliseTarget(target)).toMatchObject({ ok: false, detail: expect.stringContaining('control byte') });
      good('/a%20b');
    },
  );

  it.each(['/\xe9', '/é', '/\u2025/', '/a?\xff', '/\ud800'])('%j is refused for being raw non-ASCII', (target) => {
    expect(normaliseTarget(target)).toMatchObject({ ok: false, detail: expect.stringContaining('non-ASCII') });
    good('/%E9');
  });

  it.each(['/%', '/%4', '/%4g', '/%g4', '/%%41', '/a?b=100%', '/%u0041', '/%-1'])(
    '%s is refused for its malformed escape',
    (target) => {
      expect(normaliseTarget(target)).toMatchObject({
        ok: false,
        detail: expect.stringContaining('malformed percent'),
      });
      good('/a?b=100%25');
    },
  );

  it.each(['/%c0%ae%c0%ae/a', '/a%c0%afb', '/a%c1%9cb', '/%e0%80%ae/a', '/%f0%80%80%ae/a'])(
    '%s is refused for its overlong UTF-8',
    (target) => {
      expect(normaliseTarget(target)).toMatchObject({ ok: false, detail: expect.stringContaining('overlong') });
      good('/%c3%80/%e0%a4%80/%f0%90%80%80/%c0');
    },
  );

  it.each(['/a#b', '/a?b#c', '/#'])('%s is refused for its fragment', (target) => {
    expect(normaliseTarget(target)).toMatchObject({ ok: false, detail: expect.stringContaining('fragment') });
    good('/a%23b');
  });

  it.each(['', '*', 'a', '?x', 'http://example.com/', 'example.com:443', '%2fa'])(
    '%j is refused for not being origin-form',
    (target) => {
      expect(normaliseTarget(target)).toMatchObject({ ok: false, detail: expect.stringContaining('origin-form') });
    },
  );

  it('is refused where a path is encoded again and again', () => {
    expect(normaliseTarget(`/%${'25'.repeat(4)}41`).ok).toBe(false);
    expect(normaliseTarget(`/a?%${'25'.repeat(4)}41`).ok).toBe(true);
    expect(normaliseTarget(`/${'%25'.repeat(20_000)}`).ok).toBe(true);
  });

  it('is shown escaped and cut where it is refused', () => {
    expect(normaliseTarget('/\x1b')).toEqual({ ok: false, detail: 'a control byte in the request target: /\\x1b' });
    const long = normaliseTarget(`/..${'/'.repeat(10_000)}`);
    expect(long.ok ? '' : long.detail.length).toBeLessThan(200);
  });

  it('once normalised has nothing left to normalise, and no reading with a dot segment', () => {
    const alphabet = fc.constantFrom(...'/.%;?aA2e5fFcC0', '%2e', '%2f', '%25', '..', '%5c', '%41');
    fc.assert(
      fc.property(fc.string({ unit: alphabet, maxLength: 24 }), (rest) => {
        const once = normaliseTarget(`/${rest}`);
        if (!once.ok) return;
        expect(normaliseTarget(once.value)).toEqual(once);
        let path = once.value.split('?', 1)[0] as string;
        for (let round = 0; round < 3; round++) {
          expect(path.split(/[/\\]/).map((segment) => segment.split(';', 1)[0])).not.toContain('..');
          expect(path.split(/[/\\]/).map((segment) => segment.split(';', 1)[0])).not.toContain('.');
          path = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('with no escape reads as the WHATWG parser reads it', () => {
    const alphabet = fc.constantFrom(...'/.;?a_~:@!$&=+,-');
    fc.assert(
      fc.property(fc.string({ unit: alphabet, maxLength: 24 }), (rest) => {
        const target = `/${rest}`;
        const result = normaliseTarget(target);
        const url = new URL(`http://host${target}`);
        // The URL object drops the `?` of an empty query; everything else must be the same text.
        if (result.ok) expect([url.href.slice('http://host'.length), `${url.pathname}?`]).toContain(target);
      }),
      { numRuns: 2000 },
    );
  });
});
