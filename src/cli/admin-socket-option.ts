/** The option that all commands have that ask the daemon. */
import { type Command, Option } from 'commander';
import { DEFAULT_ADMIN_SOCKET } from '../domain/admin-api.ts';
import { type AdminClient, adminClient } from './admin-client.ts';

/** Adds --admin-socket / OUTCALL_ADMIN_SOCKET. */
export function withAdminSocket(command: Command): Command {
  return command.addOption(
    new Option('--admin-socket <path>', "outcalld's admin socket")
      .env('OUTCALL_ADMIN_SOCKET')
      .default(DEFAULT_ADMIN_SOCKET),
  );
}

/** The client for the socket that the command was given. */
export function clientOf(options: { readonly adminSocket: string }): AdminClient {
  return adminClient(options.adminSocket);
}
