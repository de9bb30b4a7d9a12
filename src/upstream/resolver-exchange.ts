/**
 * One question to one server: over UDP from a port of its own, and over TCP where the answer does not fit or where
 * somebody seems to be guessing. An answer counts only from that address and port, with our id and our question
 * (cache poisoning; threat 3).
 */
import { randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import net, { isIPv6 } from 'node:net';
import { type DnsResponse, encodeQuestion, readResponse } from '../wire/dns-response.ts';
import { ResolverError } from './resolver-error.ts';

export interface DnsServer {
  /** An IP address. */
  readonly host: string;
  readonly port: number;
}

export interface DnsQuestion {
  readonly name: string;
  readonly type: number;
}

const ID_VALUES = 0x1_0000;
/** Messages on our port that are not the answer: after so many, an id is being guessed, and TCP cannot be joined so. */
const MAX_FOREIGN_MESSAGES = 8;
const LENGTH_BYTES = 2;
/** A 16-bit length and what it can count. */
const MAX_STREAM_BYTES = LENGTH_BYTES + 0xffff;

/**
 * The server's answer, whatever its rcode. Rejects with ResolverError or the socket's error; when `signal` aborts, with
 * its reason. Has no deadline of its own.
 */
export async function askServer(server: DnsServer, asked: DnsQuestion, signal: AbortSignal): Promise<DnsResponse> {
  const overUdp = await askOverUdp(server, asked, signal);
  if (overUdp !== 'ask_over_tcp' && !overUdp.truncated) return overUdp;
  const overTcp = await askOverTcp(server, asked, signal);
  if (overTcp.truncated) throw new ResolverError('EBADRESP', 'truncated over TCP');
  return overTcp;
}

function askOverUdp(server: DnsServer, asked: DnsQuestion, signal: AbortSignal): Promise<DnsResponse | 'ask_over_tcp'> {
  const question = encodeQuestion(randomInt(ID_VALUES), asked.name, asked.type);
  const family = isIPv6(server.host) ? 6 : 4;
  const { promise, resolve, reject } = Promise.withResolvers<DnsResponse | 'ask_over_tcp'>();
  const socket = dgram.createSocket({
    type: `udp${family}`,
    lookup: (address, _options, callback) => callback(null, address, family),
  });
  const abort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  let foreign = 0;
  socket.on('error', reject);
  socket.on('message', (message) => {
    const result = readResponse(message, question);
    if (result.kind === 'response') resolve(result.response);
    else if (result.kind === 'malformed') reject(new ResolverError('EBADRESP', result.detail));
    else if (++foreign >= MAX_FOREIGN_MESSAGES) resolve('ask_over_tcp');
  });
  // Connected, so that the kernel gives a random port and hands on nothing that another address or port sent.
  socket.connect(server.port, server.host, () => socket.send(question));
  return promise.finally(() => {
    signal.removeEventListener('abort', abort);
    socket.close();
  });
}

function askOverTcp(server: DnsServer, asked: DnsQuestion, signal: AbortSignal): Promise<DnsResponse> {
  const question = encodeQuestion(randomInt(ID_VALUES), asked.name, asked.type);
  const { promise, resolve, reject } = Promise.withResolvers<DnsResponse>();
  const socket = net.connect({ host: server.host, port: server.port, signal });
  let received: Buffer = Buffer.alloc(0);
  socket.on('error', reject);
  socket.on('close', () => reject(new ResolverError('EBADRESP', 'the connection closed before the answer')));
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    const answer = wholeMessage(received);
    if (answer === undefined) {
      if (received.length >= MAX_STREAM_BYTES) reject(new ResolverError('EBADRESP', 'more than one message'));
      return;
    }
    const result = readResponse(answer, question);
    if (result.kind === 'response') resolve(result.response);
    else reject(new ResolverError('EBADRESP', result.kind === 'foreign' ? 'not our question' : result.detail));
  });
  socket.write(Buffer.concat([Buffer.from([question.length >> 8, question.length & 0xff]), question]));
  return promise.finally(() => socket.destroy());
}

function wholeMessage(received: Buffer): Buffer | undefined {
  if (received.length < LENGTH_BYTES) return undefined;
  const end = LENGTH_BYTES + received.readUInt16BE(0);
  return received.length < end ? undefined : received.subarray(LENGTH_BYTES, end);
}
