/**
 * A smart-HTTP git origin: `git http-backend` as a CGI program (RFC 3875) behind the kit's TLS origin, with pushing on, so
 * that only a rule stands between a client and the repository. Serves every path under /repos/.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { OriginReply, OriginRequest } from '../kit/origin.ts';
import { run } from '../kit/run.ts';

const END_OF_HEAD = '\r\n\r\n';
const MOUNT = '/repos/';

export interface GitBackend {
  /** For OriginOptions.handler. */
  handler(request: OriginRequest, reply: OriginReply): boolean;
  /** Runs git on the repository itself, behind everybody's back. */
  git(...args: readonly string[]): Promise<string>;
  /** The commit of the main branch. */
  head(): Promise<string>;
}

/** Makes a bare repository `name` in `folder` with one commit. */
export async function startGitBackend(folder: string, name: string): Promise<GitBackend> {
  const repository = join(folder, name);
  const git = (...args: readonly string[]) => gitOutput(['-C', repository, ...args]);
  await gitOutput(['init', '--quiet', '--bare', '--initial-branch=main', repository]);
  await git('config', 'http.receivepack', 'true');
  const tree = (await git('hash-object', '-t', 'tree', '-w', '/dev/null')).trim();
  const commit = (await git('commit-tree', tree, '-m', 'first')).trim();
  await git('update-ref', 'refs/heads/main', commit);
  return {
    handler: (request, reply) => request.url.startsWith(MOUNT) && serve(folder, request, reply),
    git,
    head: async () => (await git('rev-parse', 'main')).trim(),
  };
}

/** An identity for commits, and nobody's configuration. */
export const GIT_ENVIRONMENT = {
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
  GIT_AUTHOR_NAME: 'A',
  GIT_AUTHOR_EMAIL: 'a@api.test',
  GIT_COMMITTER_NAME: 'A',
  GIT_COMMITTER_EMAIL: 'a@api.test',
};

async function gitOutput(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run('git', args, { env: GIT_ENVIRONMENT });
  if (code !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`);
  return stdout;
}

function serve(root: string, request: OriginRequest, reply: OriginReply): boolean {
  const { pathname, search } = new URL(request.url, 'http://origin.invalid');
  const field = (name: string): string => request.header(name)[0] ?? '';
  if (request.header('expect').length > 0) reply.writeContinue();
  const cgi = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      ...GIT_ENVIRONMENT,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: pathname.slice(MOUNT.length - 1),
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: field('content-type'),
      CONTENT_LENGTH: field('content-length'),
      HTTP_CONTENT_ENCODING: field('content-encoding'),
      GIT_PROTOCOL: field('git-protocol'),
      REMOTE_ADDR: '127.0.0.1',
      REMOTE_USER: 'anyone',
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  cgi.stdin.on('error', () => undefined);
  request.incoming.pipe(cgi.stdin);
  let head = '';
  cgi.stdout.on('data', (chunk: Buffer) => {
    if (reply.headersSent) {
      reply.write(chunk);
      return;
    }
    head += chunk.toString('latin1');
    const end = head.indexOf(END_OF_HEAD);
    if (end < 0) return;
    writeHead(reply, head.slice(0, end));
    reply.write(Buffer.from(head.slice(end + END_OF_HEAD.length), 'latin1'));
  });
  cgi.stdout.once('end', () => reply.end());
  return true;
}

/** The head of a CGI response: `Status: 404 Not Found` is the status, the rest are fields. */
function writeHead(reply: OriginReply, text: string): void {
  const fields = text.split('\r\n').map((line) => line.split(/:\s*(.*)/s, 2) as [string, string]);
  const status = fields.find(([name]) => name.toLowerCase() === 'status')?.[1] ?? '200';
  for (const [name, value] of fields) if (name.toLowerCase() !== 'status') reply.setHeader(name, value);
  reply.writeHead(Number.parseInt(status, 10));
}
