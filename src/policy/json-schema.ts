/**
 * The JSON Schema of rule files, for editors: generated from the schema that validates them.
 */
import * as z from 'zod';
import { fileSchema } from './schema.ts';

/** A JSON Schema (draft 2020-12) as plain data. Describes what an author writes: fields with defaults are optional. */
export function rulesJsonSchema(): Record<string, unknown> {
  return { title: 'Outcall rules', ...z.toJSONSchema(fileSchema, { target: 'draft-2020-12', io: 'input' }) };
}
