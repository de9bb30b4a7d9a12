/**
 * Reads the first bytes after a CONNECT (or on a transparent door) until it is clear what they are:
 * a whole ClientHello, however it is split; plain HTTP; or something else. Consumes nothing: all bytes are handed back.
 */
import type { Socket } from 'node:net';
import { type HelloResult, readClientHello } from '../wire/client-hello.ts';

export type Hello = Extract<HelloResult, { kind: 'hello' }>;

export type Peeked =
  | { readonly kind: 'hello'; readonly hello: Hello; readonly bytes: Buffer }
  | { readonly kind: 'http'; readonly bytes: Buffer }
  | { readonly kind: 'other'; readonly bytes: Buffer }
  | { readonly kind: 'malformed'; readonly detail: string }
  | { readonly kind: 'closed' };

/** An HTTP method begins with a letter (RFC 9110 tokens allow more; no method in use does). */
const isLetter = (byte: number): boolean => (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);

/** Calls back once. The socket is left paused; the deadline is the flow's. */
export function peek(
  socket: Socket,
  first: Buffer,
  onPeeked: (peeked: Peeked) => void,
  read: (bytes: Buffer) => HelloResult = readClientHello,
): void {
  let bytes = first;
  const finish = (peeked: Peeked): void => {
    socket.off('data', onData);
    socket.off('end', onEnd);
    socket.off('close', onEnd);
    socket.pause();
    onPeeked(peeked);
  };
  const look = (): boolean => {
    const peeked = judge(bytes, read);
    if (peeked !== undefined) finish(peeked);
    return peeked !== undefined;
  };
  const onData = (chunk: Buffer): void => {
    bytes = joined(bytes, chunk);
    look();
  };
  const onEnd = (): void => finish({ kind: 'closed' });
  socket.on('data', onData);
  socket.on('end', onEnd);
  socket.on('close', onEnd);
  if (bytes.length > 0 && look()) return;
  // The end may have come while nobody listened.
  if (socket.readableEnded || socket.destroyed) finish({ kind: 'closed' });
  else socket.resume();
}

/**
 * In memory of its own: what was read is the start of 64 KiB, and Buffer.concat gives a part of a shared block, and either
 * would stay for as long as a tunnel that keeps its hello.
 */
function joined(first: Buffer, second: Buffer): Buffer {
  const bytes = Buffer.allocUnsafeSlow(first.length + second.length);
  first.copy(bytes);
  second.copy(bytes, first.length);
  return bytes;
}

function judge(bytes: Buffer, read: (bytes: Buffer) => HelloResult): Peeked | undefined {
  const result = read(bytes);
  switch (result.kind) {
    case 'incomplete':
      return undefined;
    case 'malformed':
      return { kind: 'malformed', detail: result.detail };
    case 'hello':
      return { kind: 'hello', hello: result, bytes };
    case 'not_tls':
      return { kind: isLetter(bytes[0] as number) ? 'http' : 'other', bytes };
  }
}
