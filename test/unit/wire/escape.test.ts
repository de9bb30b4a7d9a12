import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeForLog, escapeTargetForLog } from '../../../src/wire/escape.ts';

describe('escapeForLog', () => {
  it('leaves printable ASCII alone and escapes the rest, the backslash too', () => {
    expect(escapeForLog('api.example.com:443 ~', 64)).toBe('api.example.com:443 ~');
    expect(escapeForLog('a\0b\r\n\x1b\x7f\xe9\u2028\ud83d\\', 64)).toBe(
      'a\\x00b\\x0d\\x0a\\x1b\\x7f\\xe9\\u2028\\ud83d\\\\',
    );
  });

  it('shows at most so many characters of the input and marks the cut', () => {
    expect(escapeForLog('abcd', 4)).toBe('abcd');
    expect(escapeForLog('abcde', 4)).toBe('abcd...');
    expect(escapeForLog('\n\n', 1)).toBe('\\x0a...');
  });

  it('gives one printable line for any text, and different lines for different texts', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(escapeForLog(a, 1000)).toMatch(/^[ -~]*$/);
        if (a !== b) expect(escapeForLog(a, 1000)).not.toBe(escapeForLog(b, 1000));
      }),
      { numRuns: 300 },
    );
  });
});

describe('escapeTargetForLog', () => {
  it('keeps the path and loses userinfo, query and fragment', () => {
    expect(escapeTargetForLog('/a/@b%2Fc', 64)).toBe('/a/@b%2Fc');
    expect(escapeTargetForLog('/a\x1b?token=s', 64)).toBe('/a\\x1b?[redacted]');
    expect(escapeTargetForLog('/a#token=s', 64)).toBe('/a#[redacted]');
    expect(escapeTargetForLog('https://u:p@api.test/a?token=s', 64)).toBe('https://[redacted]@api.test/a?[redacted]');
    expect(escapeTargetForLog('u:p@api.test:443', 64)).toBe('[redacted]@api.test:443');
  });
});
