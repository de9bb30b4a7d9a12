/** The resolv.conf of an agent: us and nobody else. Pure text; who writes it is in lock.ts. */

/** Docker's own resolver inside each container on a user-defined network. */
export const ENGINE_RESOLVER = '127.0.0.11';

const MARK = '# Written by outcall attach; outcall detach puts back what was here.';

/** `ndots:0`: a bare name is asked as it is; there is no search list that could leak it. */
export function resolvConfFor(resolver: string): string {
  return `${MARK}\nnameserver ${resolver}\noptions ndots:0\n`;
}

/** The servers that a program which reads this file asks. */
export function nameservers(text: string): readonly string[] {
  return [...text.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)].map(([, server]) => server as string);
}
