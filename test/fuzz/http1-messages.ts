/**
 * HTTP/1.x messages for properties: well-formed ones with what they mean beside them, near-valid ones out of
 * parts that parsers are known to differ over, and byte mutations of both.
 */
import fc from 'fast-check';
import { mutated } from './mutations.ts';

const TOKEN_CHARS = [..."!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ"];
const VALUE_CHARS = [...'abcXYZ0189 \t!"#$%&\'()*+,-./:;<=>?@[]^_`{|}~\u0080\u00e9\u00ff'];

const token = fc.string({ unit: fc.constantFrom(...TOKEN_CHARS), minLength: 1, maxLength: 12 });
const fieldValue = fc
  .string({ unit: fc.constantFrom(...VALUE_CHARS), maxLength: 24 })
  .map((value) => value.replace(/^[ \t]+|[ \t]+$/g, ''));
const target = fc
  .string({ unit: fc.constantFrom(...'/abc019?&=%;.~_-"<>^`{|}[]:@!$\'()*+,\\'), maxLength: 20 })
  .map((rest) => `/${rest}`);
const outerWhite = fc.constantFrom('', ' ', ' ', ' ', '\t', '  ');

/** Fields that mean nothing for framing. */
const plainField = fc.tuple(
  token.map((name) => `x-${name}`),
  fieldValue,
);

type Field = readonly [name: string, value: string];

export interface Body {
  readonly fields: readonly Field[];
  readonly wire: string;
  readonly payload: string;
  readonly kind: 'none' | 'length' | 'chunked';
}

const payload = fc.string({ unit: fc.constantFrom(...'ab0\r\n \u00ff:'), maxLength: 20 });
const chunk = fc.string({ unit: fc.constantFrom(...'ab0\r\n \u00ff:'), minLength: 1, maxLength: 20 });
const trailer = fc.tuple(
  token.map((name) => `t-${name}`),
  fieldValue,
);
const hexCase = fc.constantFrom<(hex: string) => string>(
  (hex) => hex,
  (hex) => hex.toUpperCase(),
  (hex) => `00${hex}`,
);
const extension = fc.oneof(
  { weight: 6, arbitrary: fc.constant('') },
  { weight: 1, arbitrary: fc.tuple(token, token).map(([name, value]) => `;${name}=${value}`) },
  { weight: 1, arbitrary: token.map((name) => `;${name}`) },
  { weight: 1, arbitrary: token.map((name) => `;${name}="q \\" ${name}";b`) },
);

function chunkedBody(extensions: boolean): fc.Arbitrary<Body> {
  const extended = extensions ? extension : fc.constant('');
  return fc
    .tuple(
      fc.array(fc.tuple(chunk, hexCase, extended), { maxLength: 3 }),
      fc.array(trailer, { maxLength: 2 }),
      fc.constantFrom('chunked', 'Chunked', 'CHUNKED'),
      fc.constantFrom('0', '00', '000'),
      extended,
    )
    .map(([chunks, trailers, coding, zero, lastExtension]) => ({
      kind: 'chunked',
      fields: [['Transfer-Encoding', coding]],
      payload: chunks.map(([data]) => data).join(''),
      wire:
        chunks.map(([data, spell, ext]) => `${spell(data.length.toString(16))}${ext}\r\n${data}\r\n`).join('') +
        `${zero}${lastExtension}\r\n${trailers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
    }));
}

function anyBody(extensions: boolean): fc.Arbitrary<Body> {
  return fc.oneof(
    fc.constant<Body>({ kind: 'none', fields: [], wire: '', payload: '' }),
    payload.map<Body>((text) => ({
      kind: 'length',
      fields: [['Content-Length', String(text.length)]],
      wire: text,
      payload: text,
    })),
    chunkedBody(extensions),
  );
}

export interface Message {
  readonly wire: string;
  readonly headBytes: number;
  /** Flat, as a strict reader must give them. */
  readonly headers: readonly string[];
  readonly body: Body;
}

export interface RequestMessage extends Message {
  readonly method: string;
  readonly target: string;
}

export interface ResponseMessage extends Message {
  readonly status: number;
  readonly reason: string;
}

export const goodRequest: fc.Arbitrary<RequestMessage> = fc
  .tuple(
    fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'M-SEARCH', 'PROPFIND'),
    target,
    fc.array(plainField, { maxLength: 4 }),
    anyBody(false),
    outerWhite,
    outerWhite,
    fc.nat(),
  )
  .map(([method, path, plain, body, before, after, place]) => {
    const fields = shuffled<Field>([['Host', 'example.com'], ...plain, ...body.fields], place);
    const head = `${method} ${path} HTTP/1.1\r\n${lines(fields, before, after)}\r\n`;
    return { method, target: path, ...message(head, fields, body) };
  });

export const goodResponse: fc.Arbitrary<ResponseMessage> = fc
  .tuple(
    fc.constantFrom(200, 201, 206, 301, 404, 500, 999),
    fc.constantFrom('OK', '', 'Not  Found', 'n\u00e4'),
    fc.array(plainField, { maxLength: 4 }),
    anyBody(true),
    outerWhite,
    outerWhite,
    fc.nat(),
  )
  .map(([status, reason, plain, body, before, after, place]) => {
    const fields = shuffled<Field>([...plain, ...body.fields], place);
    const head = `HTTP/1.1 ${status} ${reason}\r\n${lines(fields, before, after)}\r\n`;
    return { status, reason, ...message(head, fields, body) };
  });

function message(head: string, fields: readonly Field[], body: Body): Message {
  return { wire: head + body.wire, headBytes: head.length, headers: fields.flat(), body };
}

/** A TAB around the value is for fields that mean nothing here: elsewhere it is refused. */
function lines(fields: readonly Field[], before: string, after: string): string {
  const line = ([name, value]: Field) => `${name}:${before}${value}${after}\r\n`;
  return fields.map((field) => (field[0].startsWith('x-') ? line(field) : line(field).replaceAll('\t', ' '))).join('');
}

function shuffled<T>(items: readonly T[], seed: number): T[] {
  const turn = items.length === 0 ? 0 : seed % items.length;
  return [...items.slice(turn), ...items.slice(0, turn)];
}

/** Mostly right, each part with a chance of being one of the forms that parsers disagree over. */
const end = weighted('\r\n', ['\n', '\r', '\r\r\n', '\n\r', '\r\n ', '\r\n\t', ' \r\n']);
const space = weighted(' ', ['  ', '\t', '', ' \t', '\u000b']);
const colon = weighted(': ', [':', ' : ', '\t:', ':  ', '', ':\u0000', ':\r\n ']);
const version = weighted('HTTP/1.1', [
  'HTTP/1.0',
  'HTTP/1.2',
  'HTTP/2.0',
  'http/1.1',
  'HTTP/1.10',
  'HTTP/01.1',
  'HTTP/1,1',
]);
const nearTarget = fc.oneof(
  { weight: 6, arbitrary: target },
  fc.constantFrom('*', 'http://a/', 'http://a:80?x', 'a:443', '/a b', '/\u00e9', '/a#b', '', 'foo', '//a', '/\u0001'),
);
const method = weighted('GET', [
  'POST',
  'HEAD',
  'CONNECT',
  'OPTIONS',
  'FOO',
  'get',
  'G\u00e9T',
  'PRI',
  '',
  'M-SEARCH',
  'TRACE',
]);
const trickyField = fc.constantFrom(
  'Content-Length:5',
  'Content-Length: 5',
  'Content-Length: 5 ',
  'Content-Length: 05',
  'Content-Length: +5',
  'Content-Length: 5, 5',
  'Content-Length: 0',
  'Content-Length: 0x5',
  'Content-Length: 5 5',
  'Content-Length: -1',
  'Content-Length:',
  'Content-Length: 99999999999999999999',
  'Content-Length : 5',
  'Content_Length: 5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: Chunked',
  'transfer-encoding:chunked ',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: chunked;q=1',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding:\u000bchunked',
  'Transfer-Encoding',
  'Transfer-Encoding: identity',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: Keep-Alive, Upgrade',
  'Connection: upgrade',
  'Connection: , close,,',
  'Connection: content-length',
  'Connection: clo se',
  'Proxy-Connection: close',
  'Upgrade: websocket',
  'Upgrade: h2c',
  'Expect: 100-continue',
  'Host: a',
  'Host: b',
  'Host:',
  ' Host: a',
  ': a',
  'X\u0000Y: a',
  'X: a\u0000b',
  'X: a\u007fb',
  'X: \u00e9',
  'X\u00e9: a',
  'X: a\r\n b',
  'X(y): a',
  '',
);
const nearField = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(token, colon, fieldValue).map((parts) => parts.join('')) },
  { weight: 3, arbitrary: trickyField },
);
const nearBody = fc.oneof(
  anyBody(true).map((body) => body.wire),
  fc.constantFrom(
    'hello',
    'hello world',
    '5\r\nhello\r\n0\r\n\r\n',
    '5\nhello\n0\n\n',
    '5 \r\nhello\r\n0\r\n\r\n',
    '0x5\r\nhello\r\n0\r\n\r\n',
    '+5\r\nhello\r\n0\r\n\r\n',
    '5;a\nb\r\nhello\r\n0\r\n\r\n',
    '5;a=b\r\nhello\r\n0\r\n\r\n',
    '5;\r\nhello\r\n0\r\n\r\n',
    '5\r\nhelloX\r\n0\r\n\r\n',
    '5\r\nhello0\r\n\r\n',
    '0\r\nContent-Length: 5\r\n\r\n',
    '0\r\n\n',
    '0\r\nX : a\r\n\r\n',
    '-5\r\nhello\r\n0\r\n\r\n',
    '10000000000000005\r\nhello\r\n0\r\n\r\n',
    'ffffffffffffffff\r\nhello\r\n0\r\n\r\n',
  ),
);
const framing = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  { weight: 3, arbitrary: fc.constant('Transfer-Encoding: chunked\r\n') },
  { weight: 3, arbitrary: fc.constant('Content-Length: 5\r\n') },
);
const hostLine = weighted('Host: example.com\r\n', ['', 'Host: a\r\nHost: a\r\n', 'Host:\r\n', 'host:a\n']);

const nearRequest = fc
  .tuple(
    fc.tuple(method, space, nearTarget, space, version, end),
    hostLine,
    framing,
    fc.array(fc.tuple(nearField, end), { maxLength: 3 }),
    end,
    nearBody,
  )
  .map(
    ([line, host, frame, fields, last, body]) => line.join('') + host + frame + fields.flat().join('') + last + body,
  );

const nearStatus = fc.constantFrom(
  '200',
  '200',
  '200',
  '204',
  '304',
  '101',
  '100',
  '500',
  '20',
  '2000',
  '099',
  '2x0',
  '',
);
const nearResponse = fc
  .tuple(
    fc.tuple(version, space, nearStatus, space, fieldValue, end),
    framing,
    fc.array(fc.tuple(nearField, end), { maxLength: 3 }),
    end,
    nearBody,
  )
  .map(([line, frame, fields, last, body]) => line.join('') + frame + fields.flat().join('') + last + body);

/** Any text that may be a request, or two in a row. */
export const anyRequest = mutated(
  fc.oneof(
    { weight: 2, arbitrary: nearRequest },
    { weight: 2, arbitrary: goodRequest.map((request) => request.wire) },
    { weight: 1, arbitrary: fc.tuple(goodRequest, nearRequest).map(([first, second]) => first.wire + second) },
  ),
);

/** Any text that may be a response. */
export const anyResponse = mutated(
  fc.oneof(
    { weight: 1, arbitrary: nearResponse },
    { weight: 1, arbitrary: goodResponse.map((response) => response.wire) },
  ),
);

function weighted(usual: string, others: readonly string[]): fc.Arbitrary<string> {
  return fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) });
}
