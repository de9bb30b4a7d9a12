/** `outcall rules`: the group; each command is a file of its own. */
import type { Command } from 'commander';
import type { CliIo } from './io.ts';
import { addRulesCheck } from './rules-check.ts';
import { addRulesList } from './rules-list.ts';
import { addRulesReload } from './rules-reload.ts';
import { addRulesSchema } from './rules-schema.ts';

export function addRulesCommands(program: Command, io: CliIo): void {
  const rules = program.command('rules').description('check, list and reload the rules');
  addRulesCheck(rules, io);
  addRulesList(rules, io);
  addRulesReload(rules, io);
  addRulesSchema(rules, io);
}
