/**
 * Which fields must not come as trailers (RFC 9110 section 6.5.1): by then the message has been framed, decided
 * and routed, and a reader that merges trailers into the head would see another message (threats 9, 10).
 */

/** Lengths, routing and framing: never, in either direction. */
const FRAMING_FIELDS = ['content-length', 'host', 'transfer-encoding'];
/** What decides, authenticates or frames a request; rules have seen the head without it. */
const HEAD_ONLY_FIELDS = [
  ...FRAMING_FIELDS,
  'accept',
  'authorization',
  'cache-control',
  'connection',
  'content-encoding',
  'content-range',
  'content-type',
  'cookie',
  'expect',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'keep-alive',
  'max-forwards',
  'origin',
  'pragma',
  'proxy-authorization',
  'proxy-connection',
  'range',
  'referer',
  'te',
  'trailer',
  'upgrade',
  'user-agent',
];
const RESPONSE_FORBIDDEN: ReadonlySet<string> = new Set(FRAMING_FIELDS);
const REQUEST_FORBIDDEN: ReadonlySet<string> = new Set(HEAD_ONLY_FIELDS);

/** True where `name`, in any case, must not come after the body of such a message. */
export function isForbiddenTrailer(name: string, message: 'request' | 'response'): boolean {
  return (message === 'request' ? REQUEST_FORBIDDEN : RESPONSE_FORBIDDEN).has(name.toLowerCase());
}
