/**
 * `npm start`: Outcall tried out on this machine alone. Builds, makes a CA, starts outcalld with an example rule set and
 * a small origin, sends real requests with curl, prints one that is allowed and two that are refused, and stays up.
 *   --once          ends after the requests: 0 when each was answered as it should be
 *   --folder PATH   where the CA and the records go (.outcall)
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { sourceFiles } from './layers.ts';
import { API_HOST, OTHER_HOST, ROOT, type Stage, setStage } from './quick-try.ts';

interface Try {
  readonly what: string;
  /** Arguments of curl but for proxy and CA. */
  readonly args: readonly string[];
  readonly expected: RegExp;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { once: { type: 'boolean', default: false }, folder: { type: 'string', default: '.outcall' } },
  });
  if (spawnSync('curl', ['--version']).error !== undefined) {
    console.error('npm start sends its requests with curl, which is not here. On Debian: apt-get install curl');
    return 1;
  }
  if (buildIsOld() && !build()) return 1;
  await using stage = await setStage(values.folder);
  const allGood = await showTries(stage);
  await showRecords(stage);
  if (values.once || !allGood) return allGood ? 0 : 1;
  sayHowToGoOn(stage);
  return await untilStopped(stage);
}

function buildIsOld(): boolean {
  const built = path.join(ROOT, 'dist/outcalld.js');
  if (!existsSync(built)) return true;
  const { mtimeMs } = statSync(built);
  return sourceFiles(ROOT).some((file) => statSync(path.join(ROOT, file)).mtimeMs > mtimeMs);
}

function build(): boolean {
  const done = spawnSync(process.execPath, ['scripts/build.ts'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  return done.status === 0;
}

async function showTries(stage: Stage): Promise<boolean> {
  const api = `https://${API_HOST}:${stage.originPort}`;
  const tries: readonly Try[] = [
    {
      what: 'The rule allows POST /v1/messages:',
      args: ['-d', '{"model":"demo"}', `${api}/v1/messages`],
      expected: /"did":"POST \/v1\/messages"/,
    },
    {
      what: 'The same host, another method and path. Refused inside TLS:',
      args: [`${api}/v1/models`],
      expected: /^Blocked by outcall: /m,
    },
    {
      what: 'A host that no rule names. Refused at CONNECT, before anything is resolved or dialled:',
      args: [`https://${OTHER_HOST}:${stage.originPort}/`],
      expected: /CONNECT tunnel failed, response 403|Received HTTP code 403 from proxy after CONNECT/,
    },
  ];
  let allGood = true;
  for (const attempt of tries) {
    const output = await showTry(stage, attempt);
    if (attempt.expected.test(output)) continue;
    allGood = false;
    console.error(`This is not what should have come; expected: ${attempt.expected.source}`);
  }
  console.log(`\nWhat reached the origin: ${stage.reached.join(', ') || 'nothing'}`);
  return allGood && stage.reached.length === 1;
}

async function showTry(stage: Stage, { what, args }: Try): Promise<string> {
  const command = ['-x', stage.proxy, '--cacert', stage.caCert, ...args];
  console.log(`\n${what}\n\n  $ curl ${command.map(quoted).join(' ')}`);
  // Without a progress meter, and deaf to a proxy exception in the environment.
  const child = spawn('curl', ['-sS', '--noproxy', '', ...command], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => (output += chunk));
  }
  await once(child, 'close');
  console.log(output.trimEnd().replaceAll(/^/gm, '  '));
  return output;
}

async function showRecords(stage: Stage): Promise<void> {
  console.log(`\nWhat outcalld recorded (${stage.recordsFile}, here without most of its fields):\n`);
  for (const record of await stage.records(3)) {
    const { event, verdict, rule, taken, host, method, path, status } = record;
    console.log(`  ${JSON.stringify({ event, verdict, rule, taken, host, method, path, status })}`);
  }
}

function sayHowToGoOn(stage: Stage): void {
  const curl = `curl -x ${stage.proxy} --cacert ${stage.caCert}`;
  console.log(`
outcalld goes on at ${stage.proxy}, by the rules of ${stage.rules}: change them, and the next
connection obeys. Try your own, from this folder (${API_HOST} and ${OTHER_HOST} resolve here, and nothing else):

  ${curl} -d '{}' https://${API_HOST}:${stage.originPort}/v1/messages
  ${curl} -X DELETE https://${API_HOST}:${stage.originPort}/v1/messages
  bin/outcall logs --admin-socket ${stage.adminSocket}
  bin/outcall rules list --admin-socket ${stage.adminSocket}

Ctrl-C stops it all.`);
}

async function untilStopped(stage: Stage): Promise<number> {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => once(process, signal).then(() => true));
  const stopped = await Promise.race([...signals, stage.exited.then(() => false)]);
  if (!stopped) console.error('outcalld has exited.');
  return stopped ? 0 : 1;
}

function quoted(text: string): string {
  return /^[\w./:=@-]+$/.test(text) ? text : `'${text}'`;
}

// Who reads us may stop reading (`npm start | head`); outcalld is still to be ended in order.
process.stdout.on('error', () => undefined);
try {
  process.exitCode = await main();
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
