/**
 * A gRPC origin and its client (@grpc/grpc-js), messages as plain text: unary, server streaming, bidirectional, and a
 * call that fails; each with trailing metadata.
 */
import {
  Client,
  credentials,
  type Metadata,
  Metadata as NewMetadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import type { Door } from './agent.ts';
import type { TestCa } from './pki.ts';
import { Seen } from './seen.ts';

const encode = (text: string): Buffer => Buffer.from(text);
const decode = (bytes: Buffer): string => bytes.toString();
const codec = {
  requestSerialize: encode,
  requestDeserialize: decode,
  responseSerialize: encode,
  responseDeserialize: decode,
};

const SERVICE = {
  echo: { path: '/kit.Echo/Echo', requestStream: false, responseStream: false, ...codec },
  count: { path: '/kit.Echo/Count', requestStream: false, responseStream: true, ...codec },
  chat: { path: '/kit.Echo/Chat', requestStream: true, responseStream: true, ...codec },
  fail: { path: '/kit.Echo/Fail', requestStream: false, responseStream: false, ...codec },
} as const;

export interface GrpcCall {
  readonly method: keyof typeof SERVICE;
  readonly message: string;
}

export class GrpcOrigin implements AsyncDisposable {
  readonly port: number;
  /** One entry per message that reached a method. */
  readonly calls: Seen<GrpcCall>;
  /** Calls in both directions that their client cancelled. */
  readonly cancelled: Seen<string>;
  readonly #server: Server;

  constructor(server: Server, port: number, seen: { calls: Seen<GrpcCall>; cancelled: Seen<string> }) {
    this.#server = server;
    this.port = port;
    this.calls = seen.calls;
    this.cancelled = seen.cancelled;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }
}

/** Starts the service over TLS on an ephemeral port of 127.0.0.1. */
export async function startGrpcOrigin(tls: {
  readonly ca: TestCa;
  readonly names: readonly string[];
}): Promise<GrpcOrigin> {
  const calls = new Seen<GrpcCall>('gRPC message at the origin');
  const cancelled = new Seen<string>('cancelled gRPC call');
  const server = new Server();
  server.addService(SERVICE, methods(calls, cancelled));
  const pair = tls.ca.issue({ names: tls.names });
  const secure = ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(pair.certPem), private_key: Buffer.from(pair.keyPem) },
  ]);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', secure, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return new GrpcOrigin(server, port, { calls, cancelled });
}

function methods(calls: Seen<GrpcCall>, cancelled: Seen<string>) {
  return {
    echo: (call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => {
      calls.push({ method: 'echo', message: call.request });
      done(null, call.request, trailing());
    },
    count: (call: ServerWritableStream<string, string>) => {
      calls.push({ method: 'count', message: call.request });
      for (let i = 1; i <= Number(call.request); i++) call.write(String(i));
      call.end(trailing());
    },
    chat: (call: ServerDuplexStream<string, string>) => {
      call.on('data', (message: string) => {
        calls.push({ method: 'chat', message });
        call.write(message.toUpperCase());
      });
      call.on('cancelled', () => cancelled.push('chat'));
      call.on('end', () => call.end(trailing()));
    },
    fail: (call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => {
      calls.push({ method: 'fail', message: call.request });
      done({ code: status.FAILED_PRECONDITION, details: 'as asked', metadata: trailing() });
    },
  };
}

function trailing(): Metadata {
  const metadata = new NewMetadata();
  metadata.set('x-kit-trailer', 'after');
  return metadata;
}

/**
 * A client that goes through the proxy's CONNECT to `target` (`host:port`) and trusts `caPem` alone. Close it.
 * The names of SERVICE are its methods' paths; see `unary`, `serverStream` and `chat`.
 */
export class GrpcAgent extends Client implements Disposable {
  constructor(door: Door, target: string, caPem: string) {
    const before = process.env['grpc_proxy'];
    process.env['grpc_proxy'] = `http://${door.host ?? '127.0.0.1'}:${door.port}`;
    try {
      super(target, credentials.createSsl(Buffer.from(caPem)));
    } finally {
      if (before === undefined) delete process.env['grpc_proxy'];
      else process.env['grpc_proxy'] = before;
    }
  }

  /** Resolves with the answer and the trailing metadata; rejects with a ServiceError. */
  unary(method: 'echo' | 'fail', message: string): Promise<{ message: string; trailers: Metadata }> {
    return new Promise((resolve, reject) => {
      let answer = '';
      const call = this.makeUnaryRequest(SERVICE[method].path, encode, decode, message, (error, value) => {
        if (error) reject(error);
        else answer = value ?? '';
      });
      call.on('status', (end) => resolve({ message: answer, trailers: end.metadata }));
    });
  }

  async serverStream(count: number): Promise<string[]> {
    const messages: string[] = [];
    const call = this.makeServerStreamRequest(SERVICE.count.path, encode, decode, String(count));
    for await (const message of call) messages.push(String(message));
    return messages;
  }

  /** One bidirectional call: write to it, read answers as 'data'. */
  chat(options: { readonly deadline?: number } = {}) {
    return this.makeBidiStreamRequest(SERVICE.chat.path, encode, decode, options);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
