import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { recordLine } from '../../../src/cli/record-line.ts';
import { aRecord } from '../audit/a-record.ts';

describe('recordLine', () => {
  it.each([
    [
      'an allowed request',
      {},
      '12:00:01 web-1 allow  POST    https://api.example.com/v1/messages?beta=[redacted]  messages-only  200  12 ms',
    ],
    [
      'what audit let through',
      { would_block: 'no-uploads', rule: 'default' },
      ' allow  POST    https://api.example.com/v1/messages?beta=[redacted]  default WOULD BLOCK: no-uploads  200  12 ms',
    ],
    [
      'a block',
      { verdict: 'block', rule: 'default', reason: 'default', status: 403 },
      ' block  POST    https://api.example.com/v1/messages?beta=[redacted]  default  403  12 ms',
    ],
    [
      'a failure',
      { verdict: 'failed', reason: 'upstream_handshake_failed', detail: 'expired', status: 502 },
      'messages-only upstream_handshake_failed (expired)  502  12 ms',
    ],
    [
      'a tunnel',
      { scheme: null, path: null, method: 'CONNECT', port: 8443, status: 200 },
      'CONNECT api.example.com:8443  messages-only',
    ],
    ['an unknown agent', { agent: '' }, '12:00:01 10.203.0.7 allow'],
    ['an IPv6 host on another port', { host: '2001:db8::1', port: 444 }, 'https://[2001:db8::1]:444/v1'],
    [
      'what failed before anything was known',
      {
        host: null,
        method: null,
        scheme: null,
        path: null,
        rule: null,
        status: null,
        verdict: 'failed',
        reason: 'bad_request',
      },
      'failed -       -  bad_request  12 ms',
    ],
  ] as const)('shows %s', (_, fields, expected) => {
    expect(recordLine(aRecord(fields), false)).toContain(expected);
  });

  it('lets no record move the cursor, colour the line or turn its direction', () => {
    const evil = '\u001b[2J\r\n\u0007\u009b31m\u202e\u2066x';
    const record = aRecord({ host: evil, path: evil, detail: evil, agent: evil, method: evil, rule: evil });
    const line = recordLine(record, false);
    expect(line).toMatch(/^[^\p{Cc}\p{Bidi_Control}]*$/u);
    const coloured = recordLine(record, true);
    expect(stripVTControlCharacters(coloured)).toBe(line);
    expect(coloured.match(/\u001b/g)).toHaveLength(2); // on and off, around the verdict
  });

  it('colours the verdict alone, by what it is', () => {
    const colours = (['allow', 'block', 'failed'] as const).map(
      (verdict) => /\u001b\[(\d+)m/.exec(recordLine(aRecord({ verdict }), true))?.[1],
    );
    expect(colours).toEqual(['32', '31', '33']);
    expect(recordLine(aRecord(), false)).not.toContain('\u001b');
  });
});
