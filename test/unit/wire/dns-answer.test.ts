import { describe, expect, it } from 'vitest';
import { addressData, type DnsAnswer, encodeAnswer, encodeRefusal, udpLimit } from '../../../src/wire/dns-answer.ts';
import { EDE, RCODE, TYPE } from '../../../src/wire/dns-codes.ts';
import { type DnsQuery, parseQuery } from '../../../src/wire/dns-query.ts';
import { addressesIn, decode, ipv4Data, type QuestionText, question, record } from '../../kit/dns-message.ts';

const LONGEST = [63, 63, 63, 61].map((n) => 'a'.repeat(n)).join('.');

function answered(text: QuestionText, answer: DnsAnswer, maxBytes = 512) {
  const message = question(text);
  return decode(encodeAnswer(message, queryOf(message), answer, maxBytes));
}

function queryOf(message: Buffer): DnsQuery {
  const parsed = parseQuery(message);
  if (parsed.kind !== 'query') throw new Error(JSON.stringify(parsed));
  return parsed.query;
}

const ADDRESS: DnsAnswer = {
  rcode: RCODE.NOERROR,
  records: [{ type: TYPE.A, ttlSeconds: 60, data: addressData('10.203.128.7') }],
};
const DENIAL: DnsAnswer = {
  rcode: RCODE.NXDOMAIN,
  negativeTtlSeconds: 5,
  error: { code: EDE.BLOCKED, text: 'Blocked by outcall: no rule allows this' },
};

describe('an answer', () => {
  it('repeats id, question and its case, and has the records under that name', () => {
    const answer = answered({ id: 0xbeef, name: 'wWw.ExAmPle.CoM' }, ADDRESS);
    expect(answer).toMatchObject({ id: 0xbeef, rcode: 0, truncated: false, opt: undefined });
    expect(answer.question).toEqual({ name: 'wWw.ExAmPle.CoM', type: 1, class: 1 });
    expect(answer.answers).toEqual([
      { name: 'wWw.ExAmPle.CoM', type: 1, class: 1, ttl: 60, data: ipv4Data('10.203.128.7') },
    ]);
  });

  it('is one of a resolver: recursion available, recursion desired and checking disabled as asked', () => {
    expect(answered({ name: 'a.test', flags: 0x0110 }, ADDRESS).flags).toBe(0x8190);
    expect(answered({ name: 'a.test', flags: 0 }, ADDRESS).flags).toBe(0x8080);
  });

  it('speaks EDNS only to who does, and repeats DO', () => {
    expect(answered({ name: 'a.test' }, ADDRESS).opt).toBeUndefined();
    const opt = { udpBytes: 1_232, dnssecOk: true, version: 0 };
    expect(answered({ name: 'a.test', edns: 4_096, dnssecOk: true }, ADDRESS).opt).toEqual(opt);
  });

  it('of "no such name" has a SOA with the time for which to keep that, and says why by EDE', () => {
    const { rcode, answers, authority, error } = answered({ name: 'a.test', edns: 1_232 }, DENIAL);
    expect({ rcode, answers }).toEqual({ rcode: 3, answers: [] });
    expect(authority).toMatchObject([{ name: '', type: 6, ttl: 5 }]);
    expect(authority[0]?.data.readUInt32BE(authority[0].data.length - 4)).toBe(5);
    expect(error).toEqual({ code: 15, text: 'Blocked by outcall: no rule allows this' });
    expect(answered({ name: 'a.test' }, DENIAL).error).toBeUndefined();
  });

  it('has the upper bits of its rcode in the OPT record', () => {
    const answer = answered({ name: 'a.test', edns: 1_232 }, { rcode: RCODE.BADVERS });
    expect(answer).toMatchObject({ rcode: 16, flags: 0x8180 });
  });

  it('holds a relayed section as it came, with pointers to the question', () => {
    const text = record(Buffer.from([0xc0, 12]), 'TXT', 30, Buffer.from('\x05hello'));
    const answer = answered({ name: 'A.Test', type: 'TXT' }, { rcode: 0, relayed: { bytes: text, count: 1 } });
    expect(answer.answers).toEqual([{ name: 'A.Test', type: 16, class: 1, ttl: 30, data: Buffer.from('\x05hello') }]);
  });

  it('that does not fit is cut to the question, with TC set', () => {
    const section = {
      bytes: Buffer.concat(
        Array.from({ length: 60 }, () => record(Buffer.from([0xc0, 12]), 'A', 1, ipv4Data('192.0.2.1'))),
      ),
      count: 60,
    };
    const big = { rcode: 0, relayed: section };
    const cut = answered({ name: 'a.test' }, big);
    expect(cut).toMatchObject({ truncated: true, rcode: 0, answers: [] });
    expect(cut.question?.name).toBe('a.test');
    const whole = answered({ name: 'a.test' }, big, 65_535);
    expect(whole.truncated).toBe(false);
    expect(addressesIn(whole)).toHaveLength(60);
  });

  it('of ours fits into 512 bytes for the longest name', () => {
    const text = { name: LONGEST, edns: 512 };
    const wordy = { ...DENIAL, error: { code: EDE.BLOCKED, text: 'x'.repeat(2_000) } };
    expect(answered(text, wordy)).toMatchObject({ truncated: false, rcode: 3 });
    expect(addressesIn(answered(text, ADDRESS))).toEqual(['10.203.128.7']);
  });
});

describe('the limit over UDP', () => {
  it.each([
    [undefined, 512],
    [0, 512],
    [512, 512],
    [1_000, 1_000],
    [1_232, 1_232],
    [65_535, 1_232],
  ])('for EDNS size %s is %i', (edns, limit) => {
    expect(udpLimit(queryOf(question({ name: 'a.test', ...(edns === undefined ? {} : { edns }) })))).toBe(limit);
  });
});

describe('a refusal without a question', () => {
  it('has the id, the opcode and the rcode, and nothing else', () => {
    const refusal = encodeRefusal(Buffer.from('abcd2900ffffffffffffffff', 'hex'), RCODE.NOTIMP);
    expect(refusal.toString('hex')).toBe('abcda9840000000000000000');
  });
});

describe('addressData', () => {
  it.each(['0.0.0.0', '10.203.128.1', '255.255.255.255', '1.20.255.0'])('writes %s as its four octets', (address) => {
    expect([...addressData(address)]).toEqual(address.split('.').map(Number));
  });
});
