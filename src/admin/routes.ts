/**
 * All routes of the operator's API, in the order of the document. Answers are the types of domain/admin-api.ts.
 */
import { ADMIN_PATHS } from '../domain/admin-api.ts';
import { AGENTS_BODY, readAgents } from './agents.ts';
import { CA_ROUTES } from './ca.ts';
import { EXPLAIN_ROUTE } from './explain.ts';
import { FLOWS_PARAMETERS, RECORDS_PARAMETERS, sendEvents, sendFlows, sendRecords } from './flows.ts';
import { openApiDocument } from './openapi.ts';
import { AdminProblem } from './problem.ts';
import { type Asked, json, type Route, sendJson } from './route.ts';

/** As Prometheus' text format asks for. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
/** A rule file may have 1 MiB (policy/limits.ts); one that is larger is told so by the check itself. */
const MAX_RULES_BYTES = 2 * 1024 * 1024;

const ABOUT_DAEMON: readonly Route[] = [
  {
    method: 'GET',
    path: ADMIN_PATHS.openapi,
    id: 'getOpenApi',
    summary: 'This document',
    answers: [{ status: 200, description: 'OpenAPI 3.1', type: 'application/json' }],
    handle: ({ response }) => sendJson(response, 200, openApiDocument(ROUTES)),
  },
  {
    method: 'GET',
    path: ADMIN_PATHS.health,
    id: 'getHealth',
    summary: 'Whether the daemon is in order, or should be looked after',
    answers: [json('Health', 'in order, or about to be'), json('Health', 'not in order', 503)],
    handle: ({ backend, response }) => {
      const health = backend.health();
      sendJson(response, health.state === 'ready' || health.state === 'degraded' ? 200 : 503, health);
    },
  },
  {
    method: 'GET',
    path: ADMIN_PATHS.ready,
    id: 'getReady',
    summary: 'Whether a flow that starts now would be served',
    answers: [json('Ready', 'it would'), json('Ready', 'it would be refused, or wait', 503)],
    handle: ({ backend, response }) => {
      const answer = backend.ready();
      sendJson(response, answer.ready ? 200 : 503, answer);
    },
  },
  {
    method: 'GET',
    path: ADMIN_PATHS.status,
    id: 'getStatus',
    summary: 'What runs, since when, with which rules',
    answers: [json('Status', 'the daemon and its workers')],
    handle: async ({ backend, response }) => sendJson(response, 200, await backend.status()),
  },
];

const ABOUT_RULES: readonly Route[] = [
  {
    method: 'GET',
    path: ADMIN_PATHS.rules,
    id: 'listRules',
    summary: 'The rules in force, in the order in which they are tried',
    answers: [json('Rules', 'one generation')],
    handle: ({ backend, response }) => sendJson(response, 200, backend.rules()),
  },
  {
    method: 'POST',
    path: ADMIN_PATHS.reload,
    id: 'reloadRules',
    summary: 'Take the rules from disk now; a bad set changes nothing',
    answers: [json('Reloaded', 'they are in force')],
    problems: { 422: 'the rules have errors, which are in `problems`; the old set stays in force' },
    handle: reload,
  },
  {
    method: 'POST',
    path: ADMIN_PATHS.check,
    id: 'checkRules',
    summary: 'What the daemon would say to this rule file; changes nothing',
    body: { types: ['application/yaml'], maxBytes: MAX_RULES_BYTES, schema: { type: 'string' } },
    answers: [json('Checked', 'every mistake in it, or none')],
    handle: async ({ backend, body, response }) => sendJson(response, 200, await backend.check(body)),
  },
  EXPLAIN_ROUTE,
];

const ABOUT_AGENTS: readonly Route[] = [
  {
    method: 'GET',
    path: ADMIN_PATHS.agents,
    id: 'listAgents',
    summary: 'The containers behind the appliance, as rules know them',
    answers: [json('Agents', 'all that are known')],
    handle: sendAgents,
  },
  {
    method: 'POST',
    path: ADMIN_PATHS.agents,
    id: 'tellAgents',
    summary: 'Tell of these beside those that are known; lasts until the daemon ends',
    body: AGENTS_BODY,
    answers: [json('Agents', 'all that are known now')],
    handle: (asked) => {
      asked.backend.agents.tell(readAgents(asked.body));
      sendAgents(asked);
    },
  },
  {
    method: 'DELETE',
    path: ADMIN_PATHS.agents,
    id: 'forgetAgent',
    summary: 'Forget one',
    query: [{ name: 'id', description: 'of its container', required: true, schema: { type: 'string', maxLength: 64 } }],
    answers: [json('Agents', 'all that are known now')],
    problems: { 404: 'nothing was known of it' },
    handle: forgetAgent,
  },
  {
    method: 'GET',
    path: ADMIN_PATHS.grants,
    id: 'listGrants',
    summary: 'The ports of names that agents reach beside 80 and 443',
    answers: [json('Grants', 'empty without --lock')],
    handle: async ({ backend, response }) => sendJson(response, 200, await backend.grants()),
  },
];

const ABOUT_FLOWS: readonly Route[] = [
  {
    method: 'GET',
    path: ADMIN_PATHS.flows,
    id: 'listFlows',
    summary: 'The last audit records, oldest first',
    query: FLOWS_PARAMETERS,
    answers: [json('Flows', 'at most 1,000')],
    handle: sendFlows,
  },
  {
    method: 'GET',
    path: ADMIN_PATHS.flowsLive,
    id: 'followFlows',
    summary: 'The same and all that come, as server-sent events named flow',
    query: FLOWS_PARAMETERS,
    answers: [{ status: 200, description: 'until the reader leaves', type: 'text/event-stream' }],
    handle: sendEvents,
  },
  {
    method: 'GET',
    path: ADMIN_PATHS.records,
    id: 'streamRecords',
    summary: 'The same as lines, as standard output has them',
    query: RECORDS_PARAMETERS,
    answers: [{ status: 200, description: 'one JSON object a line', type: 'application/x-ndjson' }],
    handle: sendRecords,
  },
  {
    method: 'GET',
    path: ADMIN_PATHS.metrics,
    id: 'getMetrics',
    summary: 'The figures of all processes, for Prometheus',
    answers: [{ status: 200, description: 'text format 0.0.4', type: 'text/plain' }],
    handle: async ({ backend, response }) => {
      const text = await backend.metrics();
      response.writeHead(200, { 'Content-Type': METRICS_TYPE }).end(text);
    },
  },
];

export const ROUTES: readonly Route[] = [
  ...ABOUT_DAEMON,
  ...ABOUT_RULES,
  ...ABOUT_AGENTS,
  ...CA_ROUTES,
  ...ABOUT_FLOWS,
];

async function reload({ backend, response }: Asked): Promise<void> {
  const result = await backend.reload();
  if (result.ok) return sendJson(response, 200, result.answer);
  const { generation, problems } = result;
  throw new AdminProblem(422, `the rules have errors; generation ${generation} stays in force`, { problems });
}

function sendAgents({ backend, response }: Asked): void {
  sendJson(response, 200, { agents: backend.agents.entries });
}

function forgetAgent(asked: Asked): void {
  const id = asked.query.get('id') ?? '';
  if (!asked.backend.agents.forget(id)) {
    throw new AdminProblem(404, `no agent with the id ${JSON.stringify(id)} is known`);
  }
  sendAgents(asked);
}
