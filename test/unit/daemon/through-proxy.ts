/** One request through a daemon's explicit proxy to an origin that counts what reaches it. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Seen } from '../../kit/seen.ts';

export interface CountingOrigin extends AsyncDisposable {
  readonly port: number;
  /** Paths that reached it. */
  readonly paths: string[];
  /** Resolves when this path has reached it. */
  reached(path: string): Promise<unknown>;
  /** Answers that were held back by a path that starts with /held. */
  release(): void;
}

export async function countingOrigin(): Promise<CountingOrigin> {
  const seen = new Seen<string>('path at the origin');
  const held: http.ServerResponse[] = [];
  const server = http.createServer((request, response) => {
    seen.push(request.url ?? '');
    if (request.url?.startsWith('/held') === true) held.push(response);
    else response.end('from the origin');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    paths: seen.all,
    reached: (path) => seen.some((one) => one === path),
    release: () => {
      for (const response of held.splice(0)) response.end('released');
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  /** X-Outcall-Failure-Reason. */
  readonly failure: string | undefined;
}

/** GET of `url` through the proxy on `port`. Rejects when the connection breaks. */
export function getThrough(port: number, url: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { host } = new URL(url);
    const request = http.get(
      { host: '127.0.0.1', port, path: url, headers: { Host: host }, agent: false },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body, failure: failureOf(response) }));
        response.on('error', reject);
      },
    );
    request.on('error', reject);
  });
}

/** Rules that let 127.0.0.1 through for paths that start with `prefix`. */
export function allowPath(prefix: string): string {
  return `version: "1"
rules:
  - id: only
    condition: http.host == "127.0.0.1" && http.path.startsWith("${prefix}")
    action: allow
    egress: { allow_private_ips: true }
`;
}

function failureOf(response: http.IncomingMessage): string | undefined {
  const value = response.headers['x-outcall-failure-reason'];
  return Array.isArray(value) ? value.join() : value;
}
