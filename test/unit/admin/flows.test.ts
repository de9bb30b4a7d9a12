import http from 'node:http';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdminBackend } from '../../../src/admin/backend.ts';
import { openAdminServer } from '../../../src/admin/server.ts';
import type { LineWriter } from '../../../src/audit/line-writer.ts';
import { RecordFeed } from '../../../src/audit/record-feed.ts';
import type { AuditRecord } from '../../../src/domain/record.ts';
import { TempFolder } from '../../kit/temp.ts';
import { aRecord } from '../audit/a-record.ts';

const RECORDS: readonly AuditRecord[] = [
  aRecord({ flow: '1', agent: 'web', agent_ip: '10.0.0.1', would_block: 'old', rule: 'api', host: 'api.example.com' }),
  aRecord({ flow: '2', agent: 'web', agent_ip: '10.0.0.1', verdict: 'block', rule: 'default', host: 'example.com' }),
  aRecord({ flow: '3', agent: '', agent_ip: '10.0.0.2', verdict: 'failed', rule: null, host: 'a.api.example.com' }),
  aRecord({ flow: '4', agent: 'job', agent_ip: '10.0.0.3', verdict: 'block', rule: 'api', host: 'badexample.com' }),
];
const HOSTILE = Buffer.from('{"agent":"web"\n[1]\nnull\n');

interface Scene {
  readonly socketPath: string;
  readonly push: (lines: Buffer) => void;
}

async function withRecords(use: (scene: Scene) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const socketPath = path.join(folder.path, 'admin.sock');
  const writer = { write: () => undefined, waitingBytes: 0 } as unknown as LineWriter;
  const feed = new RecordFeed(writer);
  const push = feed.source();
  push(HOSTILE);
  push(linesOf(RECORDS));
  const server = await openAdminServer(socketPath, { records: feed } as unknown as AdminBackend);
  try {
    await use({ socketPath, push });
  } finally {
    await server.close();
  }
}

function linesOf(records: readonly AuditRecord[]): Buffer {
  return Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
}

function open(socketPath: string, target: string): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    http.get({ socketPath, path: target, agent: false }, resolve).on('error', reject);
  });
}

async function get(socketPath: string, target: string): Promise<{ status: number; text: string }> {
  const response = await open(socketPath, target);
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response as AsyncIterable<string>) text += chunk;
  return { status: response.statusCode ?? 0, text };
}

/** Reads until `text` has come. */
async function until(response: http.IncomingMessage, wanted: string): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response as AsyncIterable<string>) {
    text += chunk;
    if (text.includes(wanted)) return text;
  }
  throw new Error(`ended without ${wanted}: ${text}`);
}

describe('the flows of the admin API', () => {
  it.each([
    ['agent=web', '12'],
    ['agent=10.0.0.2', '3'],
    ['agent=WEB', ''],
    ['host=api.example.com', '1'],
    ['host=API.example.com.', '1'],
    ['host=*.example.com', '13'],
    ['host=*.api.example.com', '3'],
    ['verdict=block', '24'],
    ['verdict=failed', '3'],
    ['verdict=would_block', '1'],
    ['rule=api', '14'],
    ['rule=default', '2'],
    ['rule=api&verdict=block', '4'],
    ['tail=1', '4'],
    ['tail=1&agent=web', '2'],
    ['tail=0', ''],
  ])('are those that %s asks for, as JSON and as lines', async (query, wanted) => {
    await withRecords(async ({ socketPath }) => {
      const { flows } = JSON.parse((await get(socketPath, `/v1/flows?${query}`)).text) as { flows: AuditRecord[] };
      expect(flows.map(({ flow }) => flow).join('')).toBe(wanted);
      const { text } = await get(socketPath, `/v1/records?${query}`);
      expect(text).toBe(linesOf(flows).toString());
    });
  });

  it.each([
    ['verdict=denied', 'verdict: \\"denied\\" is not one of allow, block, failed, would_block'],
    ['tail=1001', 'tail: \\"1001\\" is not a number from 0 to 1000'],
    ['tail=-1', 'tail: \\"-1\\" is not a number from 0 to 1000'],
    ['host=a..b', 'host: \\"a..b\\" is no host; write api.example.com or *.example.com'],
    ['agents=web', '\\"agents\\" is not a parameter; this takes tail, agent, host, verdict, rule'],
    ['agent=a&agent=b', 'agent: it is given twice; give it once'],
  ])('are refused for %s, which says what to write', async (query, detail) => {
    await withRecords(async ({ socketPath }) => {
      const { status, text } = await get(socketPath, `/v1/flows?${query}`);
      expect(status).toBe(400);
      expect(text).toContain(detail);
      expect((await get(socketPath, '/v1/flows')).status).toBe(200);
    });
  });

  it('come live as server-sent events, those that were asked for and no other', async () => {
    await withRecords(async ({ socketPath, push }) => {
      const response = await open(socketPath, '/v1/flows/live?tail=1&agent=web');
      expect(response.headers['content-type']).toBe('text/event-stream');
      const seen = until(response, '"flow":"6"');
      push(linesOf([aRecord({ flow: '5', agent: 'job' })]));
      push(linesOf([aRecord({ flow: '6', agent: 'web' })]));
      const events = (await seen).split('\n\n').filter((event) => event !== '');
      const flows = events.map((event) => {
        expect(event.startsWith('event: flow\ndata: {')).toBe(true);
        return (JSON.parse(event.slice('event: flow\ndata: '.length)) as AuditRecord).flow;
      });
      expect(flows).toEqual(['2', '6']);
      response.destroy();
    });
  });

  it('are followed as lines by the same words', async () => {
    await withRecords(async ({ socketPath, push }) => {
      const response = await open(socketPath, '/v1/records?tail=0&follow=1&host=*.example.com');
      const seen = until(response, '"flow":"8"');
      push(linesOf([aRecord({ flow: '7', host: 'example.com' })]));
      push(linesOf([aRecord({ flow: '8' })]));
      const lines = (await seen).trimEnd().split('\n');
      expect(lines.map((line) => (JSON.parse(line) as AuditRecord).flow)).toEqual(['8']);
      response.destroy();
    });
  });
});
