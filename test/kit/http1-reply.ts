/**
 * Reads one HTTP/1.x response from a client's end of a connection. Written for tests alone and separate from src/wire:
 * a strict second opinion on what the proxy sends. Rejects what it cannot read.
 */

export interface Reply {
  readonly status: number;
  readonly httpVersion: string;
  readonly reason: string;
  /** Flat name, value list as received. */
  readonly headers: readonly string[];
  readonly body: Buffer;
  readonly trailers: readonly string[];
  /** The 1xx responses before this one. */
  readonly interim: readonly { readonly status: number; readonly headers: readonly string[] }[];
}

/** What the reader needs from a connection. */
export interface ByteSource {
  /** Bytes up to and including `marker`, which are taken from the stream. */
  readUntil(marker: string): Promise<Buffer>;
  readExactly(bytes: number): Promise<Buffer>;
  readToEnd(): Promise<Buffer>;
}

type Head = Pick<Reply, 'status' | 'httpVersion' | 'reason' | 'headers'>;

/** The next final response to a request with `method`; stops after 101, which has no body. */
export async function readReply(source: ByteSource, method = 'GET'): Promise<Reply> {
  const interim: Head[] = [];
  for (;;) {
    const head = await readHead(source);
    const isInterim = head.status < 200 && head.status !== 101;
    if (!isInterim) return { ...head, ...(await readBody(source, method, head)), interim };
    interim.push(head);
  }
}

/** The values of one field, joined with `, `; undefined when it is absent. */
export function fieldOf(headers: readonly string[], name: string): string | undefined {
  const values = headers.filter((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === name.toLowerCase());
  return values.length === 0 ? undefined : values.join(', ');
}

async function readHead(source: ByteSource): Promise<Head> {
  const text = (await source.readUntil('\r\n\r\n')).toString('latin1').slice(0, -4);
  const [statusLine = '', ...fields] = text.split('\r\n');
  const match = /^HTTP\/(1\.[01]) (\d{3})(?: (.*))?$/.exec(statusLine);
  if (match === null) throw new Error(`not a status line: ${JSON.stringify(statusLine)}`);
  const [, httpVersion = '', status = '', reason = ''] = match;
  return { status: Number(status), httpVersion, reason, headers: fields.flatMap(splitField) };
}

async function readBody(source: ByteSource, method: string, head: Head): Promise<Pick<Reply, 'body' | 'trailers'>> {
  const none = { body: Buffer.alloc(0), trailers: [] };
  if (method === 'HEAD' || head.status < 200 || head.status === 204 || head.status === 304) return none;
  if (method === 'CONNECT' && head.status < 300) return none;
  if (fieldOf(head.headers, 'transfer-encoding') !== undefined) return readChunked(source);
  const length = fieldOf(head.headers, 'content-length');
  if (length === undefined) return { body: await source.readToEnd(), trailers: [] };
  if (!/^\d+$/.test(length)) throw new Error(`not a Content-Length: ${length}`);
  return { body: await source.readExactly(Number(length)), trailers: [] };
}

async function readChunked(source: ByteSource): Promise<Pick<Reply, 'body' | 'trailers'>> {
  const chunks: Buffer[] = [];
  for (;;) {
    const line = (await source.readUntil('\r\n')).toString('latin1').slice(0, -2);
    if (!/^[0-9a-fA-F]+(;.*)?$/.test(line)) throw new Error(`not a chunk size: ${JSON.stringify(line)}`);
    const size = Number.parseInt(line, 16);
    if (size === 0) return { body: Buffer.concat(chunks), trailers: await readTrailers(source) };
    chunks.push(await source.readExactly(size));
    if ((await source.readExactly(2)).toString('latin1') !== '\r\n') throw new Error('no CRLF after a chunk');
  }
}

async function readTrailers(source: ByteSource): Promise<string[]> {
  const fields: string[] = [];
  for (;;) {
    const line = (await source.readUntil('\r\n')).toString('latin1').slice(0, -2);
    if (line === '') return fields;
    fields.push(...splitField(line));
  }
}

function splitField(line: string): [string, string] {
  const colon = line.indexOf(':');
  if (colon < 1) throw new Error(`not a field: ${JSON.stringify(line)}`);
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
