/** `outcall rules schema`: the JSON Schema of rule files, for editors. */
import type { Command } from 'commander';
import { rulesJsonSchema } from '../policy/json-schema.ts';
import type { CliIo } from './io.ts';

export function addRulesSchema(rules: Command, io: CliIo): void {
  rules
    .command('schema')
    .description('print the JSON Schema of rule files')
    .action(() => io.out(`${JSON.stringify(rulesJsonSchema(), null, 2)}\n`));
}
