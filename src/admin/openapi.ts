/**
 * The OpenAPI 3.1 document, written from the routes that are served. Holds no route of its own.
 */
import { VERSION } from '../domain/version.ts';
import type { JsonSchema } from './json-schema.ts';
import type { Answer, Route } from './route.ts';
import { ref, SCHEMAS } from './schemas.ts';

const PROBLEM = { 'application/problem+json': { schema: ref('Problem') } };

export function openApiDocument(routes: readonly Route[]): JsonSchema {
  const byPath = Object.entries(Object.groupBy(routes, (route) => route.path));
  const paths = byPath.map(([path, there = []]) => [
    path,
    Object.fromEntries(there.map((route) => [route.method.toLowerCase(), operation(route)])),
  ]);
  return {
    openapi: '3.1.0',
    info: { title: 'Outcall admin API', version: VERSION, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    // On the Unix socket nothing is asked for but the right to open it; on TCP a token.
    servers: [{ url: '/', description: 'the Unix socket of --admin-socket, or the address of --admin-listen' }],
    security: [{}, { token: [] }],
    paths: Object.fromEntries(paths),
    components: {
      schemas: SCHEMAS,
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'the text of --admin-token-file' } },
    },
  };
}

function operation(route: Route): JsonSchema {
  const { id, summary, query = [], body } = route;
  return {
    operationId: id,
    summary,
    ...(query.length === 0 ? {} : { parameters: query.map((parameter) => ({ ...parameter, in: 'query' })) }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: contentOf(body.types, body.schema) } }),
    responses: responses(route),
  };
}

/** What any route may answer is `default`: 400 for a parameter, 401 and 421 on TCP, 413 and 415 for a body, 500. */
function responses({ answers, problems = {} }: Route): JsonSchema {
  return {
    ...Object.fromEntries(answers.map((answer) => [String(answer.status), response(answer)])),
    ...Object.fromEntries(
      Object.entries(problems).map(([status, description]) => [status, { description, content: PROBLEM }]),
    ),
    default: { description: 'what went wrong, and what to do', content: PROBLEM },
  };
}

function response({ description, type, schema }: Answer): JsonSchema {
  return { description, content: contentOf([type], schema === undefined ? undefined : ref(schema)) };
}

function contentOf(types: readonly string[], schema: JsonSchema | undefined): JsonSchema {
  return Object.fromEntries(types.map((type) => [type, schema === undefined ? {} : { schema }]));
}
