/**
 * `outcall admin METHOD PATH [BODY]`: the admin API as it is. For scripts, and for `outcall attach`, which runs it inside
 * the appliance. Exit 6 where there is nothing at the path.
 */
import { Argument, type Command } from 'commander';
import type { AdminMethod } from './admin-client.ts';
import { clientOf, withAdminSocket } from './admin-socket-option.ts';
import type { CliIo } from './io.ts';

export function addAdminCommand(program: Command, io: CliIo): void {
  withAdminSocket(program.command('admin', { hidden: true }))
    .description('ask the admin API as it is')
    .addArgument(new Argument('<method>', 'what to do').choices(['GET', 'POST', 'DELETE']))
    .argument('<path>', 'as /v1/status')
    .argument('[body]', 'JSON')
    .action(async (method: AdminMethod, path: string, body: string | undefined, options: { adminSocket: string }) => {
      io.out(await clientOf(options).raw(method, path, body));
    });
}
