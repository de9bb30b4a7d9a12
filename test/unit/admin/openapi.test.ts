import http from 'node:http';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdminBackend } from '../../../src/admin/backend.ts';
import { openAdminServer } from '../../../src/admin/server.ts';
import { ADMIN_PATHS } from '../../../src/domain/admin-api.ts';
import { TempFolder } from '../../kit/temp.ts';

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: object }>>;
}

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'] as const;

async function withApi(use: (ask: (method: string, target: string) => Promise<Reply>) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const socketPath = path.join(folder.path, 'admin.sock');
  // Whatever a route asks of it fails: what is shown here is which routes there are.
  const server = await openAdminServer(socketPath, {} as AdminBackend);
  try {
    await use((method, target) => request(socketPath, method, target));
  } finally {
    await server.close();
  }
}

interface Reply {
  readonly status: number;
  readonly text: string;
}

function request(socketPath: string, method: string, target: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asked = http.request({ socketPath, method, path: target, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += String(chunk)));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.on('error', reject);
    asked.end();
  });
}

describe('/v1/openapi.json', () => {
  it('has each route that is served, and no route that is not', async () => {
    await withApi(async (ask) => {
      const document = JSON.parse((await ask('GET', ADMIN_PATHS.openapi)).text) as Document;
      expect(document.openapi).toBe('3.1.0');
      expect(Object.keys(document.paths).sort()).toEqual(Object.values(ADMIN_PATHS).sort());
      for (const [target, operations] of Object.entries(document.paths)) {
        for (const method of METHODS) {
          const { status } = await ask(method, target);
          const isThere = Object.hasOwn(operations, method.toLowerCase());
          expect(status === 405, `${method} ${target} answers ${status}`).toBe(!isThere);
        }
      }
      expect((await ask('GET', '/v1/nothing')).status).toBe(404);
    });
  });

  it('names each operation once, describes it, and resolves each reference', async () => {
    await withApi(async (ask) => {
      const { text } = await ask('GET', ADMIN_PATHS.openapi);
      const document = JSON.parse(text) as Document;
      const operations = Object.values(document.paths).flatMap((there) => Object.values(there));
      const ids = operations.map(({ operationId }) => operationId);
      expect(new Set(ids).size).toBe(ids.length);
      for (const { summary, responses } of operations) {
        expect(summary).not.toBe('');
        expect(Object.keys(responses)).toEqual(expect.arrayContaining(['200', 'default']));
        for (const { description } of Object.values(responses)) expect(description).not.toBe('');
      }
      const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference = '']) => reference);
      const names = new Set(references.map((reference) => reference.slice('#/components/schemas/'.length)));
      expect([...names].sort()).toEqual(Object.keys(document.components.schemas).sort());
    });
  });

  it('has the parameters that are taken: one that it does not name is refused', async () => {
    await withApi(async (ask) => {
      const document = JSON.parse((await ask('GET', ADMIN_PATHS.openapi)).text) as Document;
      for (const [target, operations] of Object.entries(document.paths)) {
        for (const [method, { parameters = [] }] of Object.entries(operations)) {
          const { status, text } = await ask(method.toUpperCase(), `${target}?no_such=1`);
          expect(status).toBe(400);
          for (const { name } of parameters) expect(text).toContain(name);
        }
      }
    });
  });
});
