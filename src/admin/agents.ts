/**
 * /v1/agents: who is behind which address. What is told here ends in rules and records, so it is read strictly: known
 * fields, bounded sizes, addresses in canonical form. Keeps nothing itself.
 */
import type http from 'node:http';
import { AGENT_LIMITS, type AgentEntry } from '../domain/admin-api.ts';
import { canonicalIp } from '../domain/ip.ts';

/** 256 agents with labels of some 4 KiB each; the CLI sends them in smaller parts. */
const MAX_BODY_BYTES = 1024 * 1024;
const CONTAINER_ID = /^[0-9a-f]{64}$/;

export type AgentsRequest =
  | { readonly ok: true; readonly agents: readonly AgentEntry[] }
  | { readonly ok: false; readonly wrong: string };

/** Must be called before the request's first byte is let go. Never rejects. */
export async function readAgents(request: http.IncomingMessage): Promise<AgentsRequest> {
  const text = await bodyOf(request);
  if (text === undefined) return wrong(`the body is larger than ${MAX_BODY_BYTES} bytes, or was cut short`);
  const value = parsed(text);
  if (!isRecord(value) || !Array.isArray(value['agents'])) return wrong('the body is not {"agents": [...]}');
  const entries = value['agents'].map(entryOf);
  const index = entries.indexOf(undefined);
  if (index !== -1) return wrong(`agents[${index}] is not {"id", "name", "image", "labels", "ip"} of a container`);
  return { ok: true, agents: entries.filter((entry) => entry !== undefined) };
}

function entryOf(value: unknown): AgentEntry | undefined {
  if (!isRecord(value) || Object.keys(value).length !== 5) return undefined;
  const { id, name, image, labels, ip } = value;
  const address = typeof ip === 'string' ? canonicalIp(ip) : undefined;
  if (typeof id !== 'string' || !CONTAINER_ID.test(id) || address === undefined) return undefined;
  if (!isText(name) || !isText(image) || !areLabels(labels)) return undefined;
  return { id, name, image, labels, ip: address };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= AGENT_LIMITS.nameChars;
}

function areLabels(value: unknown): value is Record<string, string> {
  if (!isRecord(value)) return false;
  const labels = Object.entries(value);
  return (
    labels.length <= AGENT_LIMITS.labels &&
    labels.every(([key, text]) => typeof text === 'string' && key.length + text.length <= AGENT_LIMITS.labelChars)
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function bodyOf(request: http.IncomingMessage): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const chunks: Buffer[] = [];
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
  });
  request.once('end', () => resolve(bytes <= MAX_BODY_BYTES ? Buffer.concat(chunks).toString('utf8') : undefined));
  request.once('close', () => resolve(undefined));
  return promise;
}

function wrong(what: string): AgentsRequest {
  return { ok: false, wrong: what };
}
