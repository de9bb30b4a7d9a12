/**
 * llhttp as an oracle: the parser inside Node, strict, fed directly. Tells what it made of the first message.
 */
// @ts-expect-error Node's own parser binding has no types.
import { HTTPParser, methods } from 'node:_http_common';

export interface Reading {
  /** Set when llhttp refused some byte. */
  error: string | undefined;
  head:
    | {
        major: number;
        minor: number;
        headers: string[];
        method: string;
        url: string;
        status: number;
        keepAlive: boolean;
      }
    | undefined;
  body: Buffer;
  complete: boolean;
}

export interface Oracle {
  readonly reading: Reading;
  feed(bytes: Buffer): void;
}

/** llhttp knows a fixed list of methods; ours takes any token. */
export const knownMethods: ReadonlySet<string> = new Set(methods as string[]);

/** A parser for one message. `skipBody`: the answer to a HEAD request. Whatever follows the message is ignored. */
export function oracle(kind: 'request' | 'response', skipBody = false): Oracle {
  const reading: Reading = { error: undefined, head: undefined, body: Buffer.alloc(0), complete: false };
  const early: string[] = [];
  const parser = new HTTPParser();
  parser.initialize(kind === 'request' ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 1 << 20, 0);
  // Beyond 32 fields they come in batches, and trailers come here too, after the head.
  parser[HTTPParser.kOnHeaders] = (batch: string[], url: string) => {
    if (reading.head === undefined) early.push(...batch);
    if (reading.head === undefined && url) early.unshift(`url:${url}`);
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    major: number,
    minor: number,
    headers: string[] | undefined,
    method: number,
    url: string,
    status: number,
    _statusText: string,
    _upgrade: boolean,
    keepAlive: boolean,
  ) => {
    if (reading.head !== undefined) return 0;
    const seen = [...early, ...(headers ?? [])];
    const first = seen[0];
    const earlyUrl = first?.startsWith('url:') ? (seen.shift() ?? '').slice(4) : undefined;
    reading.head = {
      major,
      minor,
      headers: seen,
      method: (methods as string[])[method] ?? '',
      url: url ?? earlyUrl ?? '',
      status,
      keepAlive,
    };
    return skipBody ? 1 : 0;
  };
  parser[HTTPParser.kOnBody] = (part: Buffer) => {
    if (!reading.complete) reading.body = Buffer.concat([reading.body, part]);
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    reading.complete = true;
  };
  return {
    reading,
    feed(bytes) {
      if (bytes.length === 0 || reading.error !== undefined) return;
      const result: unknown = parser.execute(bytes);
      if (result instanceof Error) reading.error = (result as Error & { code?: string }).code ?? result.message;
    },
  };
}
