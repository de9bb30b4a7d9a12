/**
 * /v1/agents: who is behind which address. What is told here ends in rules and records, so it is read strictly: known
 * fields, bounded sizes, addresses in canonical form. Keeps nothing itself.
 */
import { AGENT_LIMITS, type AgentEntry } from '../domain/admin-api.ts';
import { canonicalIp } from '../domain/ip.ts';
import { AdminProblem } from './problem.ts';
import { parseJson } from './request.ts';
import { type BodySpec, JSON_TYPE } from './route.ts';
import { ref } from './schemas.ts';

/** 256 agents with labels of some 4 KiB each; the CLI sends them in smaller parts. */
const MAX_BODY_BYTES = 1024 * 1024;
const CONTAINER_ID = /^[0-9a-f]{64}$/;
const FINGERPRINT = /^[0-9A-F]{2}(:[0-9A-F]{2}){31}$/;

export const AGENTS_BODY: BodySpec = { types: [JSON_TYPE], maxBytes: MAX_BODY_BYTES, schema: ref('Agents') };

/** Throws AdminProblem 400. */
export function readAgents(body: string): readonly AgentEntry[] {
  const value = parseJson(body);
  if (!isRecord(value) || !Array.isArray(value['agents'])) {
    throw new AdminProblem(400, 'the body is not {"agents": [...]}');
  }
  return value['agents'].map((each, index) => {
    const entry = entryOf(each);
    if (entry !== undefined) return entry;
    throw new AdminProblem(
      400,
      `agents[${index}] is not {"id", "name", "image", "labels", "ip", "fixed"?, "trusts"?} of a container`,
    );
  });
}

function entryOf(value: unknown): AgentEntry | undefined {
  if (!isRecord(value)) return undefined;
  const { id, name, image, labels, ip, fixed, trusts, ...others } = value;
  if (Object.keys(others).length > 0 || ('fixed' in value && fixed !== true)) return undefined;
  const address = typeof ip === 'string' ? canonicalIp(ip) : undefined;
  if (typeof id !== 'string' || !CONTAINER_ID.test(id) || address === undefined) return undefined;
  if (!isText(name) || !isText(image) || !areLabels(labels)) return undefined;
  if (trusts !== undefined && !areFingerprints(trusts)) return undefined;
  const more = { ...(fixed === true ? { fixed: true as const } : {}), ...(trusts === undefined ? {} : { trusts }) };
  return { id, name, image, labels, ip: address, ...more };
}

function areFingerprints(value: unknown): value is readonly string[] {
  if (!Array.isArray(value) || value.length > AGENT_LIMITS.trusts) return false;
  return value.every((each) => typeof each === 'string' && FINGERPRINT.test(each));
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
