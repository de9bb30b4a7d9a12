/**
 * A process inside an agent's namespace that does what the test says: ordinary clients, and what an attacker tries.
 * Verification of certificates is always on.
 */
import dgram from 'node:dgram';
import dns from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';

export type Wish =
  | { readonly op: 'resolve'; readonly name: string; readonly server: string; readonly type?: 'A' | 'TXT' }
  | {
      readonly op: 'get';
      readonly scheme: 'http' | 'https';
      readonly address: string;
      readonly host: string;
      readonly path?: string;
      readonly port?: number;
      readonly sni?: string;
      readonly ca?: string;
    }
  | { readonly op: 'connect'; readonly proxy: string; readonly target: string }
  | { readonly op: 'open'; readonly address: string; readonly port: number }
  | { readonly op: 'say'; readonly text: string; readonly on: number }
  | { readonly op: 'udp'; readonly address: string; readonly port: number };

/** `error` is a code of the system or of DNS, or `silence` where nothing came within the time. */
export interface Outcome {
  readonly error?: string;
  readonly status?: number;
  readonly text?: string;
  readonly addresses?: readonly string[];
  /** The connection that `open` made, for `say`. */
  readonly on?: number;
}

/** Of what is dropped, nothing comes back; what is allowed answers in a few milliseconds. */
const SILENCE_MS = 700;
/** What must come may be slow on a machine that does much else. */
const PATIENCE_MS = 8_000;

const open: net.Socket[] = [];

function does(wish: Wish): Promise<Outcome> {
  switch (wish.op) {
    case 'resolve':
      return resolve(wish);
    case 'get':
      return get(wish);
    case 'connect':
      return connect(wish);
    case 'open':
      return openTcp(wish);
    case 'say':
      return say(wish);
    case 'udp':
      return udp(wish);
  }
}

async function resolve({ name, server, type = 'A' }: Extract<Wish, { op: 'resolve' }>): Promise<Outcome> {
  const resolver = new dns.Resolver({ timeout: SILENCE_MS, tries: 2 });
  resolver.setServers([server]);
  if (type === 'A') return { addresses: await resolver.resolve4(name) };
  return { text: (await resolver.resolveTxt(name)).flat().join('') };
}

function get(wish: Extract<Wish, { op: 'get' }>): Promise<Outcome> {
  const { scheme, address, host, path = '/', sni = host } = wish;
  const common = { host: address, port: wish.port, path, agent: false, headers: { Host: host }, timeout: PATIENCE_MS };
  return new Promise((done, fail) => {
    const request = scheme === 'https' ? https.get({ ...common, servername: sni, ca: wish.ca }) : http.get(common);
    request.on('error', fail);
    request.on('timeout', () => request.destroy(new Error('silence')));
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => done({ status: response.statusCode ?? 0, text }));
      response.on('error', fail);
    });
  });
}

function connect({ proxy, target }: Extract<Wish, { op: 'connect' }>): Promise<Outcome> {
  return new Promise((done, fail) => {
    const request = http.request({ host: proxy, port: 8080, method: 'CONNECT', path: target, agent: false });
    request.on('error', fail);
    request.on('connect', (response, socket) => {
      socket.destroy();
      done({ status: response.statusCode ?? 0 });
    });
    request.end();
  });
}

/** `text`: what the server says by itself within a moment. */
async function openTcp({ address, port }: Extract<Wish, { op: 'open' }>): Promise<Outcome> {
  const socket = net.connect({ host: address, port });
  await connected(socket);
  socket.on('error', () => undefined);
  const on = open.push(socket) - 1;
  try {
    return { on, text: await read(socket, SILENCE_MS) };
  } catch (error) {
    if ((error as Error).message === 'silence') return { on };
    throw error;
  }
}

function connected(socket: net.Socket): Promise<void> {
  return new Promise((done, fail) => {
    const late = setTimeout(() => socket.destroy(new Error('silence')), SILENCE_MS);
    socket.once('error', fail);
    socket.once('close', () => clearTimeout(late));
    socket.once('connect', () => {
      clearTimeout(late);
      done();
    });
  });
}

/** Resolves with what comes back. */
async function say({ text, on }: Extract<Wish, { op: 'say' }>): Promise<Outcome> {
  const socket = open[on];
  if (socket === undefined) throw new Error('no such connection');
  socket.write(text);
  return { text: await read(socket, PATIENCE_MS) };
}

function read(socket: net.Socket, ms: number): Promise<string> {
  return new Promise((done, fail) => {
    if (socket.destroyed) fail(new Error('ended'));
    const late = setTimeout(() => settle(() => fail(new Error('silence'))), ms);
    const onData = (data: Buffer) => settle(() => done(data.toString('latin1')));
    const onClose = () => settle(() => fail(new Error('ended')));
    const settle = (how: () => void) => {
      clearTimeout(late);
      socket.off('data', onData);
      socket.off('close', onClose);
      how();
    };
    socket.on('data', onData);
    socket.on('close', onClose);
  });
}

function udp({ address, port }: Extract<Wish, { op: 'udp' }>): Promise<Outcome> {
  const socket = dgram.createSocket('udp4');
  return new Promise<Outcome>((done, fail) => {
    const late = setTimeout(() => fail(new Error('silence')), SILENCE_MS);
    socket.on('error', fail);
    socket.on('message', (data) => {
      clearTimeout(late);
      done({ text: data.toString('latin1') });
    });
    socket.send('out', port, address);
  }).finally(() => socket.close());
}

async function serve(id: number, wish: Wish): Promise<void> {
  const outcome = await does(wish).catch(
    (error: NodeJS.ErrnoException): Outcome => ({ error: error.code ?? error.message }),
  );
  process.send?.({ id, outcome });
}

process.on('message', ({ id, wish }: { id: number; wish: Wish }) => void serve(id, wish));
process.once('disconnect', () => process.exit(0));
