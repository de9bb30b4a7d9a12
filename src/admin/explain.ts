/**
 * POST /v1/rules/explain: why the rules in force would answer a question as they do. A question has the words of a case
 * of `outcall rules test`; it is read by policy/cases.ts, and changes nothing.
 */
import { ADMIN_PATHS } from '../domain/admin-api.ts';
import { type JsonSchema, listOf, TEXT } from './json-schema.ts';
import { AdminProblem } from './problem.ts';
import { type Asked, JSON_TYPE, json, type Route, sendJson } from './route.ts';

/** A body of the largest size that is looked at by default, escaped. */
const MAX_BODY_BYTES = 2 * 1024 * 1024;

const FIELDS: JsonSchema = { type: 'object', additionalProperties: { anyOf: [TEXT, listOf(TEXT)] } };
const OBJECT: JsonSchema = { type: 'object' };

/** What is asked, and no more than its outline: the problems of a bad one say what to write. */
const QUESTION: JsonSchema = {
  type: 'object',
  description: 'one of request, connect and dns; the fields are those of a case (docs/rule-tools.md)',
  properties: {
    request: { type: 'string', examples: ['POST https://api.example.com/v1/messages'] },
    connect: { type: 'string', examples: ['api.example.com:443'] },
    dns: { type: 'string', examples: ['api.example.com A'] },
    agent: OBJECT,
    headers: FIELDS,
    body: TEXT,
    tls: OBJECT,
    certificate: { type: ['object', 'null'] },
    response: OBJECT,
  },
  additionalProperties: false,
};

export const EXPLAIN_ROUTE: Route = {
  method: 'POST',
  path: ADMIN_PATHS.explain,
  id: 'explainRules',
  summary: 'Which rules are considered for this question, what each part of them comes to, and which decides',
  body: { types: [JSON_TYPE], maxBytes: MAX_BODY_BYTES, schema: QUESTION },
  answers: [json('Explanation', 'each phase, the last of which settles it')],
  problems: { 422: 'it cannot be asked; why is in `problems`', 503: 'no rules are in force yet' },
  handle: explain,
};

async function explain({ backend, body, response }: Asked): Promise<void> {
  const result = await backend.explain(body);
  if (result === undefined) throw new AdminProblem(503, 'no rules are in force yet: ask again when /v1/ready says so');
  if (result.ok) return sendJson(response, 200, result.explanation);
  throw new AdminProblem(422, 'this cannot be asked of the rules', { problems: result.problems });
}
