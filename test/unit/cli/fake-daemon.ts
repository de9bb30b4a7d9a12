/** A daemon's admin socket with fixed answers, and what was asked of it. */
import http from 'node:http';
import path from 'node:path';
import { TempFolder } from '../../kit/temp.ts';

export interface FakeAnswer {
  readonly status?: number;
  readonly type?: string;
  /** Text as it is, anything else as JSON. */
  readonly body: unknown;
}

export class FakeDaemon implements AsyncDisposable {
  readonly asked: string[] = [];
  readonly socketPath: string;
  readonly #folder = new TempFolder();
  readonly #server: http.Server;

  static async start(answers: Readonly<Record<string, FakeAnswer>>): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(answers);
    await new Promise<void>((resolve) => daemon.#server.listen(daemon.socketPath, resolve));
    return daemon;
  }

  private constructor(answers: Readonly<Record<string, FakeAnswer>>) {
    this.socketPath = path.join(this.#folder.path, 'admin.sock');
    this.#server = http.createServer((request, response) => {
      const question = `${request.method} ${request.url}`;
      this.asked.push(question);
      const { status = 200, type = 'application/json', body } = answers[question] ?? NOT_FOUND;
      response.writeHead(status, { 'Content-Type': type });
      response.end(typeof body === 'string' ? body : `${JSON.stringify(body)}\n`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    this.#folder[Symbol.dispose]();
  }
}

const NOT_FOUND: FakeAnswer = {
  status: 404,
  type: 'application/problem+json',
  body: { type: 'about:blank', title: 'Not Found', status: 404, detail: 'not here' },
};
