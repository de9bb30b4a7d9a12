/** The process of `outcall`: its arguments in, its exit code out. */
import { EXIT_OK } from './io.ts';
import { cliMain } from './program.ts';

// `outcall logs | head`: a reader who has seen enough is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT_OK);
});

process.exitCode = await cliMain(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
