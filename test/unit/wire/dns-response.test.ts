import { describe, expect, it } from 'vitest';
import { encodeQuestion, readAddress, readAlias, readResponse } from '../../../src/wire/dns-response.ts';
import { answerTo, ipv4Data, pointerTo, question, record, uint16, wireName } from '../../kit/dns-message.ts';

const ASKED = encodeQuestion(0x4242, 'www.example.com', 1);
const ADDRESS = record(pointerTo(12), 'A', 300, ipv4Data('192.0.2.7'));

function responseOf(message: Buffer, asked = ASKED) {
  const result = readResponse(message, asked);
  if (result.kind !== 'response') throw new Error(JSON.stringify(result));
  return result.response;
}

describe('encodeQuestion', () => {
  it('writes one question of class IN with recursion desired', () => {
    expect(ASKED).toEqual(question({ id: 0x4242, name: 'www.example.com' }));
    expect(encodeQuestion(1, 'a.test', 16)).toEqual(question({ id: 1, name: 'a.test', type: 'TXT' }));
  });
});

describe('readResponse', () => {
  it('reads the answer section, names in lower case, pointers followed', () => {
    const upper = record('WWW.Example.COM', 'A', 60, ipv4Data('192.0.2.8'));
    const response = responseOf(answerTo(ASKED, [ADDRESS, upper]));
    expect(response).toMatchObject({ rcode: 0, truncated: false });
    expect(response.answers).toMatchObject([
      { owner: 'www.example.com', type: 1, ttlSeconds: 300 },
      { owner: 'www.example.com', type: 1, ttlSeconds: 60 },
    ]);
    expect(response.answers.map((each) => readAddress(response, each))).toEqual(['192.0.2.7', '192.0.2.8']);
  });

  it('takes the question in another case', () => {
    const asked = Buffer.concat([wireName('wWw.eXample.com'), uint16(1), uint16(1)]);
    expect(readResponse(answerTo(ASKED, [ADDRESS], { question: asked }), ASKED).kind).toBe('response');
  });

  it.each([
    ['another id', answerTo(ASKED, [ADDRESS], { id: 0x4243 })],
    [
      'another name',
      answerTo(ASKED, [], { question: Buffer.concat([wireName('www.examplf.com'), uint16(1), uint16(1)]) }),
    ],
    [
      'another type',
      answerTo(ASKED, [], { question: Buffer.concat([wireName('www.example.com'), uint16(28), uint16(1)]) }),
    ],
    [
      'another class',
      answerTo(ASKED, [], { question: Buffer.concat([wireName('www.example.com'), uint16(1), uint16(3)]) }),
    ],
    ['no question', Buffer.concat([ASKED.subarray(0, 2), uint16(0x8180), Buffer.alloc(8), ASKED.subarray(12)])],
    ['a question in place of an answer', ASKED],
    ['another opcode', answerTo(ASKED, [ADDRESS], { flags: 0xa180 })],
    ['nothing', Buffer.alloc(0)],
    ['a header alone', answerTo(ASKED, []).subarray(0, 12)],
  ])('does not take for its answer what has %s', (_what, message) => {
    expect(readResponse(message, ASKED)).toEqual({ kind: 'foreign' });
    expect(readResponse(answerTo(ASKED, [ADDRESS]), ASKED).kind).toBe('response');
  });

  it('calls it malformed wherever its records are cut', () => {
    const whole = answerTo(ASKED, [ADDRESS, record('a.test', 'TXT', 1, Buffer.from('\x01x'))]);
    for (let end = ASKED.length; end < whole.length; end++) {
      expect(readResponse(whole.subarray(0, end), ASKED).kind, `cut at ${end}`).toBe('malformed');
    }
    expect(readResponse(whole, ASKED).kind).toBe('response');
  });

  it.each([
    ['a name that points at itself', record(pointerTo(ASKED.length), 'A', 1, ipv4Data('192.0.2.1'))],
    ['a name that points forwards', record(pointerTo(ASKED.length + 2), 'A', 1, ipv4Data('192.0.2.1'))],
    ['another class', Buffer.concat([wireName('a'), uint16(1), uint16(3), Buffer.alloc(6)])],
  ])('calls a record with %s malformed', (_what, bytes) => {
    expect(readResponse(answerTo(ASKED, [bytes]), ASKED).kind).toBe('malformed');
  });

  it('reads 512 records and no more', () => {
    const many = (count: number) =>
      answerTo(
        ASKED,
        Array.from({ length: count }, () => ADDRESS),
      );
    expect(responseOf(many(512)).answers).toHaveLength(512);
    expect(readResponse(many(513), ASKED).kind).toBe('malformed');
  });

  it('does not look at the sections after the answers', () => {
    const message = answerTo(ASKED, [ADDRESS]);
    message.writeUInt16BE(1_000, 8);
    message.writeUInt16BE(1_000, 10);
    expect(responseOf(Buffer.concat([message, Buffer.alloc(100, 0xc0)])).answers).toHaveLength(1);
  });

  it('reads no records of what was truncated', () => {
    const response = responseOf(answerTo(ASKED, [ADDRESS], { flags: 0x8380 }));
    expect(response).toMatchObject({ truncated: true, answers: [] });
  });

  it('takes a TTL with the top bit set for 0', () => {
    const response = responseOf(answerTo(ASKED, [record(pointerTo(12), 'A', 0x8000_0000, ipv4Data('192.0.2.1'))]));
    expect(response.answers[0]?.ttlSeconds).toBe(0);
  });
});

describe('the data of a record', () => {
  const dataOf = (type: 'A' | 'AAAA' | 'CNAME', data: Buffer) => {
    const response = responseOf(answerTo(ASKED, [record(pointerTo(12), type, 1, data)]));
    const [first] = response.answers;
    return { address: readAddress(response, first!), alias: readAlias(response, first!) };
  };

  it('is an address of its family', () => {
    expect(dataOf('A', ipv4Data('10.0.0.1')).address).toBe('10.0.0.1');
    const v6 = Buffer.from('20010db8000000000000000000000001', 'hex');
    expect(dataOf('AAAA', v6).address).toBe('2001:db8:0:0:0:0:0:1');
  });

  it('is no address at another length', () => {
    expect(dataOf('A', Buffer.alloc(3)).address).toBeUndefined();
    expect(dataOf('A', Buffer.alloc(16)).address).toBeUndefined();
    expect(dataOf('AAAA', Buffer.alloc(4)).address).toBeUndefined();
  });

  it('is a name for an alias, if that could be a host and nothing follows it', () => {
    expect(dataOf('CNAME', wireName('Cdn.Test')).alias).toBe('cdn.test');
    expect(dataOf('CNAME', Buffer.concat([Buffer.from('\x03cdn'), pointerTo(16)])).alias).toBe('cdn.example.com');
    expect(dataOf('CNAME', wireName('a\0b.test')).alias).toBeUndefined();
    expect(dataOf('CNAME', Buffer.concat([wireName('a'), Buffer.from([0])])).alias).toBeUndefined();
    expect(dataOf('CNAME', Buffer.from('\x05cut')).alias).toBeUndefined();
  });
});
