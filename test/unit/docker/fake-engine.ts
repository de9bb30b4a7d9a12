/**
 * A Docker Engine of tests: its API on a Unix socket, over containers and networks that are plain values. Changes what a
 * real one would change, records each request that changes something, and can be told to refuse one.
 */
import http from 'node:http';
import path from 'node:path';
import type { Engine } from '../../../src/docker/engine.ts';
import { openEngine } from '../../../src/docker/engine.ts';
import { packTar } from '../../../src/docker/tar.ts';
import { TempFolder } from '../../kit/temp.ts';
import { FakeContainer, type FakeNetwork, type FakeWorld, type Output } from './fake-world.ts';

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Buffer;
}

type Send = (status: number, body?: unknown, headers?: http.OutgoingHttpHeaders) => void;

const DEPENDS_ON_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'DELETE']);

export class FakeEngine implements AsyncDisposable {
  readonly world: FakeWorld;
  /** `POST /networks/outcall/connect` and the like, in order, without what only looks. */
  readonly changes: string[] = [];
  /** Refuses the change of this number (from 0) with 500. */
  refuse: number | undefined;
  engine!: Engine;
  readonly #folder = new TempFolder();
  readonly #server: http.Server;
  readonly #execs = new Map<string, { readonly output: Output }>();
  readonly #attached = new Map<string, (output: Output) => void>();
  readonly #streams = new Set<http.ServerResponse>();
  #count = 0;

  static async start(world: FakeWorld, version: object = VERSION): Promise<FakeEngine> {
    const fake = new FakeEngine(world, version);
    await new Promise<void>((resolve) => fake.#server.listen(fake.socketPath, resolve));
    fake.engine = await openEngine(fake.socketPath);
    return fake;
  }

  get socketPath(): string {
    return path.join(this.#folder.path, 'docker.sock');
  }

  private constructor(world: FakeWorld, version: object) {
    this.world = world;
    this.#server = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const url = new URL(request.url ?? '', 'http://engine');
        const asked = {
          method: request.method ?? '',
          path: url.pathname.replace(/^\/v[0-9.]+/, ''),
          query: url.searchParams,
          body: Buffer.concat(chunks),
        };
        if (asked.path === '/version') sender(response)(200, version);
        else this.#answer(asked, response);
      });
    });
  }

  /** As the engine tells of something that happened. */
  happen(event: object): void {
    for (const stream of this.#streams) stream.write(`${JSON.stringify(event)}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    this.#folder[Symbol.dispose]();
  }

  #answer(asked: Asked, response: http.ServerResponse): void {
    const send = sender(response);
    if (this.#isRefused(asked)) return send(500, { message: 'the engine has had enough' });
    try {
      this.#route(asked, send, response);
    } catch (error) {
      send(error instanceof Missing ? 404 : 500, { message: (error as Error).message });
    }
  }

  /** Whether a change is counted, and refused. Running and looking around are none. */
  #isRefused({ method, path: place }: Asked): boolean {
    if (!DEPENDS_ON_BODY.has(method) || /\/(exec|attach|wait)(\/|$)/.test(place)) return false;
    this.changes.push(`${method} ${place.replace(/[0-9a-f]{64}/, (id) => this.world.find(id)?.name ?? 'helper')}`);
    return this.changes.length - 1 === this.refuse;
  }

  #route(asked: Asked, send: Send, response: http.ServerResponse): void {
    const [, kind, name = '', action = ''] = asked.path.split('/');
    if (kind === 'containers' && name === 'json') return send(200, this.#list(asked.query));
    if (kind === 'containers' && name === 'create') return send(201, { Id: this.#create(asked).id });
    if (kind === 'containers') return this.#container(asked, this.#find(name), action, send, response);
    if (kind === 'networks' && name === '') return send(200, this.#networks(asked.query));
    if (kind === 'networks' && name === 'create') return send(201, this.#makeNetwork(asked));
    if (kind === 'networks') return this.#network(asked, this.#networkOf(name), action, send);
    if (kind === 'exec') return this.#exec(name, action, send, response);
    if (kind === 'events') return this.#listen(response);
    if (kind === 'volumes' && this.world.volumes.has(name)) return send(200, { Name: name });
    if (kind === 'images') return send(200, { Id: 'sha256:image' });
    throw new Missing(`no ${asked.path}`);
  }

  #container(asked: Asked, container: FakeContainer, action: string, send: Send, response: http.ServerResponse): void {
    const { method, query } = asked;
    if (method === 'DELETE') {
      this.world.containers.splice(this.world.containers.indexOf(container), 1);
      return send(204);
    }
    switch (action) {
      case 'json':
        return send(200, container.inspection(this.world));
      case 'archive':
        return this.#archive(asked, container, send);
      case 'exec': {
        const { Cmd } = parse(asked.body) as { Cmd: string[] };
        const id = `exec${this.#count++}`;
        this.#execs.set(id, { output: this.world.run(container, Cmd) });
        return send(201, { Id: id });
      }
      case 'attach':
        response.writeHead(200, { 'Content-Type': 'application/vnd.docker.raw-stream' }).flushHeaders();
        this.#attached.set(container.id, (output) => response.end(frames(output)));
        return;
      case 'start':
        container.running = true;
        this.#attached.get(container.id)?.(this.world.helper(container));
        return send(204);
      case 'wait':
        return send(200, { StatusCode: container.exitCode });
      case 'stop':
        container.running = false;
        return send(204);
      case 'rename':
        container.name = query.get('name') ?? '';
        return send(204);
      case 'update':
        container.restart = (parse(asked.body) as { RestartPolicy: object }).RestartPolicy;
        return send(200, {});
      default:
        throw new Missing(`no ${asked.path}`);
    }
  }

  #network({ method, body }: Asked, network: FakeNetwork, action: string, send: Send): void {
    if (method === 'GET') return send(200, network);
    if (method === 'DELETE') {
      this.world.removeNetwork(network.Name);
      return send(204);
    }
    const { Container, EndpointConfig } = parse(body) as { Container: string; EndpointConfig?: object };
    const container = this.#find(Container);
    if (action === 'connect') this.world.connect(container, network.Name, EndpointConfig ?? {});
    else this.world.disconnect(container, network.Name);
    send(200);
  }

  #archive({ method, query, body }: Asked, container: FakeContainer, send: Send): void {
    const place = query.get('path') ?? '';
    if (method === 'PUT') {
      if (container.readOnly) throw new Error('container rootfs is marked read-only');
      this.world.unpack(container, place, body);
      return send(200);
    }
    const content = container.files.get(place);
    if (content === undefined && !container.hasFolder(place)) throw new Missing(`no ${place} in the container`);
    const stat = { name: path.basename(place), mode: content === undefined ? 0x8000_01ed : 0o644 };
    const header = { 'X-Docker-Container-Path-Stat': Buffer.from(JSON.stringify(stat)).toString('base64') };
    if (method === 'HEAD') return send(200, undefined, header);
    const entry = { name: path.basename(place), content: Buffer.from(content ?? ''), mode: 0o644, uid: 0, gid: 0 };
    send(200, packTar([entry]), header);
  }

  #exec(id: string, action: string, send: Send, response: http.ServerResponse): void {
    const output = this.#execs.get(id)?.output;
    if (output === undefined) throw new Missing('no such exec');
    if (action === 'json') return send(200, { ExitCode: output.code ?? 0, Running: false });
    response.writeHead(200, { 'Content-Type': 'application/vnd.docker.raw-stream' }).end(frames(output));
  }

  #listen(response: http.ServerResponse): void {
    response.writeHead(200).flushHeaders();
    this.#streams.add(response);
    response.once('close', () => this.#streams.delete(response));
    this.world.onListening?.();
  }

  #list(query: URLSearchParams): object[] {
    const filters = JSON.parse(query.get('filters') ?? '{}') as Record<string, string[]>;
    return this.world.containers
      .filter(({ running }) => filters['status'] === undefined || running)
      .filter(({ id }) => filters['id'] === undefined || filters['id'].includes(id))
      .filter((container) => filters['network']?.some((name) => !container.networks.has(name)) !== true)
      .filter(({ labels }) => {
        return filters['label']?.some((text) => labels[text.split('=')[0] ?? ''] !== text.split('=')[1]) !== true;
      })
      .map((container) => container.listed(this.world));
  }

  #networks(query: URLSearchParams): readonly FakeNetwork[] {
    const { label = [] } = JSON.parse(query.get('filters') ?? '{}') as { label?: string[] };
    return [...this.world.networks.values()].filter(({ Labels = {} }) =>
      label.every((text) => Labels[text.split('=')[0] ?? ''] === text.split('=')[1]),
    );
  }

  #makeNetwork({ body }: Asked): object {
    const spec = parse(body) as FakeNetwork;
    this.world.addNetwork(spec.Name, spec);
    return { Id: `id-${spec.Name}` };
  }

  #create({ body, query }: Asked): FakeContainer {
    const spec = parse(body) as ConstructorParameters<typeof FakeContainer>[1];
    const made = new FakeContainer(query.get('name') ?? `helper-${this.#count++}`, spec);
    this.world.containers.push(made);
    return made;
  }

  #find(nameOrId: string): FakeContainer {
    const found = this.world.find(nameOrId);
    if (found === undefined) throw new Missing(`No such container: ${nameOrId}`);
    return found;
  }

  #networkOf(name: string): FakeNetwork {
    const found = this.world.networks.get(name);
    if (found === undefined) throw new Missing(`network ${name} not found`);
    return found;
  }
}

class Missing extends Error {}

const VERSION = { Version: '26.1.5', ApiVersion: '1.45', MinAPIVersion: '1.24' };

function sender(response: http.ServerResponse): Send {
  return (status, body, headers = {}) => {
    if (Buffer.isBuffer(body))
      response.writeHead(status, { ...headers, 'Content-Type': 'application/x-tar' }).end(body);
    else if (body === undefined) response.writeHead(status, headers).end();
    else response.writeHead(status, { ...headers, 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  };
}

function parse(body: Buffer): object {
  return JSON.parse(body.toString('utf8') || '{}') as object;
}

/** The engine's multiplexed output: stream, three zeros, length, bytes. */
function frames({ out = '', err = '' }: Output): Buffer {
  const frame = (stream: number, text: string) => {
    const head = Buffer.alloc(8);
    head[0] = stream;
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return text === '' ? Buffer.alloc(0) : Buffer.concat([head, Buffer.from(text)]);
  };
  return Buffer.concat([frame(1, out), frame(2, err)]);
}
