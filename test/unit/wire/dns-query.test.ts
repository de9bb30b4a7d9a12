import { describe, expect, it } from 'vitest';
import { RCODE } from '../../../src/wire/dns-codes.ts';
import { parseQuery } from '../../../src/wire/dns-query.ts';
import { question, record, uint16, wireName } from '../../kit/dns-message.ts';

/** A question for the A records of a.test with RD and AD, the form that dig +noedns gives it; written by hand. */
const DIG = Buffer.from('1a2b01200001000000000000016104746573740000010001', 'hex');

describe('parseQuery', () => {
  it('reads one question', () => {
    expect(parseQuery(DIG)).toEqual({
      kind: 'query',
      query: { type: 1, class: 1, questionEnd: DIG.length, edns: undefined },
    });
  });

  it('reads EDNS beside it', () => {
    // Cookie and padding.
    const options = Buffer.from('000a0008' + '0123456789abcdef' + '000c0002' + '0000', 'hex');
    const message = question({ name: 'a.test', type: 'AAAA', edns: 1232, dnssecOk: true, options });
    expect(parseQuery(message)).toMatchObject({
      kind: 'query',
      query: { type: 28, edns: { udpBytes: 1232, dnssecOk: true, version: 0 } },
    });
  });

  it.each([
    ['an answer', Buffer.from('1a2b81800001000000000000016104746573740000010001', 'hex')],
    ['nothing', Buffer.alloc(0)],
    ['less than a header', DIG.subarray(0, 11)],
  ])('has nothing to say to %s', (_what, message) => {
    expect(parseQuery(message)).toEqual({ kind: 'silence' });
  });

  it.each([1, 2, 4, 5, 15])('does not serve opcode %i, whatever follows', (opcode) => {
    const message = Buffer.from(DIG);
    message[2] = (opcode << 3) | 1;
    expect(parseQuery(message)).toMatchObject({ kind: 'refuse', rcode: RCODE.NOTIMP });
    expect(parseQuery(message.subarray(0, 12))).toMatchObject({ kind: 'refuse', rcode: RCODE.NOTIMP });
  });

  const withCounts = (counts: readonly number[], ...rest: readonly Buffer[]) =>
    Buffer.concat([DIG.subarray(0, 4), ...counts.map(uint16), ...rest]);
  const asked = DIG.subarray(12);
  const opt = question({ name: '', edns: 512 }).subarray(17);

  it.each([
    ['no question', withCounts([0, 0, 0, 0])],
    ['two questions', withCounts([2, 0, 0, 0], asked, asked)],
    ['an answer', withCounts([1, 1, 0, 0], asked, record('a.test', 'A', 1, Buffer.alloc(4)))],
    ['an authority', withCounts([1, 0, 1, 0], asked, record('a.test', 'A', 1, Buffer.alloc(4)))],
    ['a record that is not OPT', withCounts([1, 0, 0, 1], asked, record('', 'A', 1, Buffer.alloc(4)))],
    ['an OPT record with a name', withCounts([1, 0, 0, 1], asked, record('a', 'OPT', 0, Buffer.alloc(0)))],
    ['two OPT records', withCounts([1, 0, 0, 2], asked, opt, opt)],
    ['two OPT records counted as one', withCounts([1, 0, 0, 1], asked, opt, opt)],
    ['an OPT record that is not counted', withCounts([1, 0, 0, 0], asked, opt)],
    ['an option cut short', question({ name: 'a.test', edns: 512, options: Buffer.from('000a0008', 'hex') })],
    ['bytes after it', Buffer.concat([DIG, Buffer.from([0])])],
    ['a compressed name', withCounts([1, 0, 0, 0], Buffer.from('c00c00010001', 'hex'))],
    [
      'a label of 64',
      withCounts([1, 0, 0, 0], Buffer.from([64]), Buffer.alloc(64, 'a'), Buffer.from('0000010001', 'hex')),
    ],
    [
      'a name of 256',
      withCounts([1, 0, 0, 0], wireName([63, 63, 63, 62].map((n) => 'a'.repeat(n)).join('.')), uint16(1), uint16(1)),
    ],
  ])('calls a message with %s malformed', (_what, message) => {
    expect(parseQuery(message)).toMatchObject({ kind: 'refuse', rcode: RCODE.FORMERR });
  });

  it('calls a query malformed wherever it is cut', () => {
    const whole = question({ name: 'www.example.com', edns: 1232, options: Buffer.from('000c00020000', 'hex') });
    expect(parseQuery(whole).kind).toBe('query');
    for (let end = 12; end < whole.length; end++) {
      expect(parseQuery(whole.subarray(0, end)), `cut at ${end}`).toMatchObject({ rcode: RCODE.FORMERR });
    }
  });
});
