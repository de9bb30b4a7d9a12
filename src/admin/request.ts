/**
 * What a request may bring, held to what its route says: no parameter that it does not name, none twice, values in their
 * bounds, a body of its type and size. What is wrong is an AdminProblem that says what to write.
 */
import type http from 'node:http';
import { AdminProblem } from './problem.ts';
import type { BodySpec, Parameter, ValueSchema } from './route.ts';

/** Throws 400. */
export function checkQuery(query: URLSearchParams, parameters: readonly Parameter[]): void {
  for (const name of new Set(query.keys())) {
    if (!parameters.some((parameter) => parameter.name === name)) throw unknownParameter(name, parameters);
    if (query.getAll(name).length > 1) throw new AdminProblem(400, `${name}: it is given twice; give it once`);
  }
  for (const parameter of parameters) checkParameter(parameter, query.get(parameter.name));
}

/**
 * Must be called before the request's first byte is let go. Rejects with 413 and 415; a body that is cut short never
 * gets an answer anyway.
 */
export async function readBody(request: http.IncomingMessage, spec: BodySpec): Promise<string> {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== undefined && !spec.types.includes(type)) {
    request.resume();
    throw new AdminProblem(415, `the body is ${type}; send ${spec.types.join(' or ')}`);
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    // What is too much is still read to its end: a client that is cut off while it writes would not see the answer.
    if (bytes <= spec.maxBytes) chunks.push(chunk);
  });
  request.once('close', resolve);
  request.once('end', resolve);
  await promise;
  if (bytes > spec.maxBytes) throw new AdminProblem(413, `the body is larger than ${spec.maxBytes} bytes`);
  if (!request.complete) throw new AdminProblem(400, 'the body was cut short');
  return Buffer.concat(chunks).toString('utf8');
}

/** Throws 400. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new AdminProblem(400, 'the body is no JSON');
  }
}

function unknownParameter(name: string, parameters: readonly Parameter[]): AdminProblem {
  const known = parameters.map((parameter) => parameter.name).join(', ');
  const write = known === '' ? 'this takes none' : `this takes ${known}`;
  return new AdminProblem(400, `${JSON.stringify(name)} is not a parameter; ${write}`);
}

function checkParameter({ name, required, schema }: Parameter, value: string | null): void {
  if (value === null) {
    if (required === true) throw new AdminProblem(400, `${name}: it is missing`);
    return;
  }
  const wrong = wrongWith(value, schema);
  if (wrong !== undefined) throw new AdminProblem(400, `${name}: ${JSON.stringify(value)} is not ${wrong}`);
}

function wrongWith(value: string, schema: ValueSchema): string | undefined {
  if ('minimum' in schema) {
    const { minimum, maximum } = schema;
    const number = /^[0-9]{1,9}$/.test(value) ? Number(value) : Number.NaN;
    return number >= minimum && number <= maximum ? undefined : `a number from ${minimum} to ${maximum}`;
  }
  if ('enum' in schema) return schema.enum.includes(value) ? undefined : `one of ${schema.enum.join(', ')}`;
  return value.length <= schema.maxLength ? undefined : `a text of at most ${schema.maxLength} characters`;
}
