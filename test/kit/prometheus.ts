/**
 * Debian's Prometheus, scraping one target: through a relay of ours, so that a test knows when it has what it scraped.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Seen } from './seen.ts';
import { TempFolder } from './temp.ts';

/** It opens its storage first, on a machine that may do much else. */
const SCRAPED_DEADLINE_MS = 30_000;

export class Prometheus implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #port: number;

  private constructor(stack: AsyncDisposableStack, port: number) {
    this.#stack = stack;
    this.#port = port;
  }

  /** `target`: address:port of GET /metrics. Resolves when it has scraped it whole. */
  static async start(target: string): Promise<Prometheus> {
    const stack = new AsyncDisposableStack();
    try {
      const scrapes = new Seen<string>('scrape');
      const relay = stack.use(await listening(relayTo(target, scrapes)));
      const folder = stack.use(new TempFolder());
      const port = await freePort();
      stack.use(runPrometheus(folder, relay.port, port));
      // The second begins when the first is stored.
      await scrapes.atLeast(2, SCRAPED_DEADLINE_MS);
      return new Prometheus(stack, port);
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  /** The values of an instant vector, as text. */
  async query(expression: string): Promise<string[]> {
    const url = `http://127.0.0.1:${this.#port}/api/v1/query?query=${encodeURIComponent(expression)}`;
    const answer = (await (await fetch(url)).json()) as Answer;
    if (answer.status !== 'success') throw new Error(`${expression}: ${JSON.stringify(answer)}`);
    return answer.data.result.map(({ value }) => value[1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

interface Answer {
  readonly status: string;
  readonly data: { readonly result: readonly { readonly value: readonly [number, string] }[] };
}

function relayTo(target: string, scrapes: Seen<string>): http.Server {
  return http.createServer((request, response) => {
    scrapes.push(request.url ?? '');
    http
      .get(`http://${target}${request.url}`, { agent: false }, (found) => {
        response.writeHead(found.statusCode ?? 502, found.headers);
        found.pipe(response);
      })
      .on('error', () => response.destroy());
  });
}

function runPrometheus(folder: TempFolder, target: number, port: number): AsyncDisposable {
  const targets = [`127.0.0.1:${target}`];
  const job = { job_name: 'outcall', scrape_interval: '1s', scrape_timeout: '1s', static_configs: [{ targets }] };
  const child = spawn(
    'prometheus',
    [
      `--config.file=${folder.write('prometheus.yml', JSON.stringify({ scrape_configs: [job] }))}`,
      `--storage.tsdb.path=${join(folder.path, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  );
  const exit = once(child, 'exit');
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exit;
    },
  };
}

async function listening(server: http.Server): Promise<AsyncDisposable & { readonly port: number }> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function freePort(): Promise<number> {
  await using server = await listening(http.createServer());
  return server.port;
}
