/**
 * What one route of the admin API is: the server serves these and openapi.ts writes the document from them, so that
 * neither can have what the other has not.
 */
import type http from 'node:http';
import type { AdminBackend } from './backend.ts';
import type { JsonSchema } from './json-schema.ts';
import type { SchemaName } from './schemas.ts';

/** The part of JSON Schema that parameters use; request.ts checks all of it. */
export type ValueSchema =
  | { readonly type: 'integer'; readonly minimum: number; readonly maximum: number }
  | { readonly type: 'string'; readonly enum: readonly string[] }
  | { readonly type: 'string'; readonly maxLength: number };

export interface Parameter {
  readonly name: string;
  readonly description: string;
  readonly required?: boolean;
  readonly schema: ValueSchema;
}

/** Of a parameter that is on or off. */
export const FLAG: ValueSchema = { type: 'string', enum: ['0', '1'] };

/** What a request must bring. Its body is read whole and capped before the route sees it. */
export interface BodySpec {
  readonly types: readonly string[];
  readonly maxBytes: number;
  readonly schema: JsonSchema;
}

export interface Answer {
  readonly status: number;
  readonly description: string;
  readonly type: string;
  /** Of JSON; undefined for text. */
  readonly schema?: SchemaName;
}

/** What a route is given: its query is checked, its body read. */
export interface Asked {
  readonly backend: AdminBackend;
  readonly query: URLSearchParams;
  /** Empty where the route takes none. */
  readonly body: string;
  readonly response: http.ServerResponse;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  /** As it is called in clients made from the document. */
  readonly id: string;
  readonly summary: string;
  readonly query?: readonly Parameter[];
  readonly body?: BodySpec;
  /** Those that are no problem documents. */
  readonly answers: readonly Answer[];
  /** Problems of its own beside 400 and those of the server; each with what it means. */
  readonly problems?: Readonly<Record<number, string>>;
  /** May throw AdminProblem. */
  handle(asked: Asked): void | Promise<void>;
}

export const JSON_TYPE = 'application/json';

export function sendJson(response: http.ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': JSON_TYPE }).end(`${JSON.stringify(body)}\n`);
}

/** The usual answer of a route. */
export function json(schema: SchemaName, description: string, status = 200): Answer {
  return { status, description, type: JSON_TYPE, schema };
}
