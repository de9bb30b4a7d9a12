/** One CLI command in this process, with what it printed and how it ended. */
import { cliMain } from '../../../src/cli/program.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function runCli(...args: readonly string[]): Promise<Ran> {
  let out = '';
  let err = '';
  const code = await cliMain(args, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { code, out, err };
}
