/**
 * The command `outcall`. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 rules differ, 6 not found. Bare, it prints worked commands.
 */
import { Command, CommanderError } from 'commander';
import { VERSION } from '../domain/version.ts';
import { addAdminCommand } from './admin.ts';
import { adminClient } from './admin-client.ts';
import { addAttachCommand } from './attach.ts';
import { addCaCommands } from './ca.ts';
import { addComposeCommand } from './compose.ts';
import { addDetachCommand } from './detach.ts';
import { addDoctorCommand } from './doctor.ts';
import { addGrantsCommand } from './grants.ts';
import { CliError, type CliIo, EXIT_FAILURE, EXIT_OK, EXIT_USAGE } from './io.ts';
import { addLogsCommand } from './logs.ts';
import { addProbeCommand } from './probe.ts';
import { addPsCommand } from './ps.ts';
import { addRulesCommands } from './rules.ts';
import { addStatusCommand } from './status.ts';
import { addWatchCommand } from './watch.ts';

const WORKED_COMMANDS = `outcall ${VERSION}: what containers may reach, decided request by request

  outcall ca init --out ./ca             make the CA that intercepted hosts are signed with
  outcall rules check ./rules            find every mistake in the rules before they are used
  outcall rules test ./rules             decide the cases that stand beside them, in *.test.yaml
  outcalld --rules ./rules --ca-cert ./ca/ca.crt --ca-key ./ca/ca.key
                                         start the proxy on port 8080

  curl --proxy http://127.0.0.1:8080 --cacert ./ca/ca.crt https://api.example.com/
                                         ask through it
  outcall logs --follow                  watch what is asked, and what the rules say
  outcall rules list                     the rules in force, in the order they are tried
  outcall rules explain --host api.example.com --path /v1/messages
                                         why something is allowed or blocked, part by part
  outcall rules suggest > new.yaml       the least rules that allow what was recorded in audit
  outcall rules diff ./rules new.yaml    what they would change
  outcall rules reload                   take the rules from disk now; a bad set changes nothing
  outcall grants                         which ports of which names are open beside 80 and 443
  outcall status                         what runs, since when, with which rules
  outcall ca bundle > outcall-ca.crt     the certificate for the containers to trust

  outcall attach my-agent                lock a container that runs to the appliance
  outcall ps                             the containers behind it, and how they stand
  outcall doctor                         what is not as it should be, and what to do
  outcall detach my-agent                give it back what it had

outcall --help lists everything; outcall COMMAND --help explains one.
`;

/** Runs one command. Resolves to the exit code; never rejects for what the user can do something about. */
export async function cliMain(args: readonly string[], io: CliIo): Promise<number> {
  if (args.length === 0) {
    io.out(WORKED_COMMANDS);
    return EXIT_OK;
  }
  try {
    await cliProgram(io).parseAsync([...args], { from: 'user' });
    return EXIT_OK;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    if (!(error instanceof CliError)) throw error;
    if (error.message !== '') io.err(`outcall: ${error.message}\n`);
    return error.exitCode;
  }
}

function cliProgram(io: CliIo): Command {
  const program = new Command('outcall')
    .description('Commands of the operator: rules, CA, and what outcalld does.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('--help', 'print this')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text) })
    .addHelpText(
      'after',
      `\nExit codes: ${EXIT_OK} done, ${EXIT_FAILURE} failed, ${EXIT_USAGE} wrong usage, 3 rules differ, 6 not found.`,
    );
  addRulesCommands(program, io);
  addCaCommands(program, io, adminClient);
  addStatusCommand(program, io);
  addLogsCommand(program, io);
  addAttachCommand(program, io);
  addDetachCommand(program, io);
  addPsCommand(program, io);
  addWatchCommand(program, io);
  addDoctorCommand(program, io);
  addComposeCommand(program, io);
  addAdminCommand(program, io);
  addProbeCommand(program, io);
  addGrantsCommand(program, io);
  return program;
}
