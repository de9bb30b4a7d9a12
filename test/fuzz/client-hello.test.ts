/**
 * The ClientHello reader on what real clients send: whole, at every split and truncation, in records of every size,
 * and mutated. A real one is always read with its own name; nothing makes the reader throw or read past the end.
 */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { readClientHello } from '../../src/wire/client-hello.ts';
import { clientHello, splitRecords } from '../kit/client-hello.ts';
import { hasProgram, run } from '../kit/run.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';

const NAME = 'api.example.com';

interface Sample {
  readonly client: string;
  readonly bytes: Buffer;
  readonly alpn: readonly string[];
  /** 0x0304 or, for a client held to TLS 1.2, 0x0303. */
  readonly newest: number;
}

const samples: Sample[] = [];

/** What a program sends first to a server that never answers and then hangs up. */
async function firstFlight(command: string, args: (port: number) => readonly string[]): Promise<Buffer> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const flight = new Promise<Buffer>((resolve) => {
    server.once('connection', (socket) => {
      let all = Buffer.alloc(0);
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => {
        all = Buffer.concat([all, chunk]);
        if (readClientHello(all).kind === 'incomplete') return;
        socket.destroy();
        resolve(all);
      });
    });
  });
  const ended = run(command, args((server.address() as AddressInfo).port));
  const bytes = await flight;
  await ended;
  server.close();
  return bytes;
}

const curl = (port: number, ...more: string[]) => [
  ...['-sk', '--noproxy', '*', '--connect-to', `${NAME}:443:127.0.0.1:${port}`, ...more, `https://${NAME}/`],
];
const openssl = (port: number, ...more: string[]) => [
  ...['s_client', '-connect', `127.0.0.1:${port}`, '-servername', NAME, ...more],
];

beforeAll(async () => {
  const both = ['h2', 'http/1.1'];
  const node = await clientHello({ servername: NAME, alpn: both });
  samples.push({ client: 'node', bytes: node, alpn: both, newest: 0x0304 });
  const old = await clientHello({ servername: NAME, maxVersion: 'TLSv1.2' });
  samples.push({ client: 'node, TLS 1.2', bytes: old, alpn: [], newest: 0x0303 });
  if (hasProgram('curl')) {
    const h2 = await firstFlight('curl', (port) => curl(port));
    samples.push({ client: 'curl', bytes: h2, alpn: both, newest: 0x0304 });
    const h1 = await firstFlight('curl', (port) => curl(port, '--http1.1', '--tls-max', '1.2'));
    samples.push({ client: 'curl, TLS 1.2', bytes: h1, alpn: ['http/1.1'], newest: 0x0303 });
  }
  if (hasProgram('openssl')) {
    const bytes = await firstFlight('openssl', (port) => openssl(port, '-alpn', 'h2'));
    samples.push({ client: 'openssl s_client', bytes, alpn: ['h2'], newest: 0x0304 });
  }
});

describe('the ClientHello of a real client', () => {
  it.skipIf(!hasProgram('curl') || !hasProgram('openssl'))('comes from Node, curl and openssl here', () => {
    expect(samples.map(({ client }) => client)).toHaveLength(5);
  });

  it('tells the name, the protocols and the newest version that the client was told to offer', () => {
    for (const { client, bytes, alpn, newest } of samples) {
      const hello = readClientHello(bytes);
      expect(hello, client).toMatchObject({ kind: 'hello', sni: NAME, alpn, ech: false, bytes: bytes.length });
      expect(hello.kind === 'hello' && Math.max(...hello.versions.filter(isTlsVersion)), client).toBe(newest);
    }
  });

  it('without a server name has none', async () => {
    expect(readClientHello(await clientHello({ servername: '' }))).toMatchObject({ kind: 'hello', sni: undefined });
  });

  it('is incomplete wherever it is cut, and unharmed by what follows it', () => {
    for (const { client, bytes } of samples) {
      for (let end = 0; end < bytes.length; end++) {
        expect(readClientHello(bytes.subarray(0, end)).kind, `${client} cut at ${end}`).toBe('incomplete');
      }
      const followed = Buffer.concat([bytes, Buffer.from('\x17\x03\x03\x00\x05early', 'latin1')]);
      expect(readClientHello(followed)).toEqual(readClientHello(bytes));
    }
  });

  it('is the same in records of any size, down to one byte each, and incomplete wherever those are cut', () => {
    for (const { client, bytes } of samples) {
      const whole = readClientHello(bytes);
      for (let size = 1; size < bytes.length; size = Math.ceil(size * 1.5)) {
        const split = splitRecords(bytes, size);
        expect(readClientHello(split), `${client} by ${size}`).toEqual({ ...whole, bytes: split.length });
        for (let end = 0; end < split.length; end += 7) {
          if (readClientHello(split.subarray(0, end)).kind === 'incomplete') continue;
          expect.fail(`${client} in records of ${size} bytes is not incomplete where it is cut at ${end}`);
        }
      }
    }
  });
});

describe('a mutated ClientHello', () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 });

  it(
    'never makes the reader throw, and is never read as longer than it is',
    () => {
      let read = 0;
      fc.assert(
        fc.property(fc.nat(), changes, fc.nat(), (which, bytes, cut) => {
          const sample = samples[which % samples.length] as Sample;
          const input = Buffer.from(sample.bytes);
          for (const [at, value] of bytes) input[at % input.length] = value;
          const end = cut % 4 === 0 ? cut % input.length : input.length;
          const hello = readClientHello(input.subarray(0, end));
          if (hello.kind !== 'hello') return;
          read++;
          expect(hello.bytes).toBeLessThanOrEqual(end);
        }),
        fuzzBudget(),
      );
      expect(read).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'gives the same answer when it is re-cut into records',
    () => {
      fc.assert(
        fc.property(fc.nat(), changes, fc.integer({ min: 16, max: 2000 }), (which, bytes, size) => {
          const sample = samples[which % samples.length] as Sample;
          const input = Buffer.from(sample.bytes);
          // Past the record header: that is what is rewritten.
          for (const [at, value] of bytes) input[5 + (at % (input.length - 5))] = value;
          const { bytes: _, ...whole } = { bytes: 0, ...readClientHello(input) };
          const { bytes: __, ...split } = { bytes: 0, ...readClientHello(splitRecords(input, size)) };
          // Too long a message is missing its end in one record or in many; too short a one ends in another record.
          const comparable = ['hello', 'incomplete'].includes(whole.kind);
          if (comparable) expect(split).toEqual(whole);
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'of random bytes is refused or incomplete',
    () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 600 }), fc.boolean(), (bytes, framed) => {
          const start = framed ? [22, 3, 1, 1, 0, 1, 0, 0, 0xfc] : [];
          const hello = readClientHello(Buffer.from([...start, ...bytes]));
          if (hello.kind === 'hello') expect(hello.bytes).toBeLessThanOrEqual(start.length + bytes.length);
          if (bytes.length === 0 && !framed) expect(hello.kind).toBe('incomplete');
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});

/** GREASE values (RFC 8701) are larger than any version. */
function isTlsVersion(version: number): boolean {
  return version >> 8 === 3;
}
