/**
 * Writes the pages of docs/ that are tables of the code: failures.md and options.md (`npm run docs`). They are never
 * edited by hand; tests hold them equal to the code, both ways.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { environmentName, OPTION_TABLE, type OptionSpec } from '../src/daemon/option-table.ts';
import { type Blame, FAILURE_REASONS, FAILURES } from '../src/domain/failure.ts';

const WHO: Readonly<Record<Blame, string>> = {
  agent: 'the client in the container',
  origin: 'the server it named',
  operator: 'whoever runs Outcall',
  appliance: 'Outcall itself',
};

const FAILURES_INTRODUCTION = `# Failures

Every way in which a flow can fail for a technical reason. A request that a rule refuses is no failure: it gets 403 with
\`X-Outcall-Block-Reason\`. A failure has its reason in \`X-Outcall-Failure-Reason\`, in the audit record (\`reason\`,
\`detail\`) and in this table; where no HTTP answer can be given any more, the connection is closed and the record tells why.

This page is written from \`src/domain/failure.ts\` by \`npm run docs\`.

| reason | status | who can act | what the client reads | what to do |
| --- | --- | --- | --- | --- |
`;

const OPTIONS_INTRODUCTION = `# Options of outcalld

Each option can be given as a flag or in the environment; the flag wins. A value that is not understood is refused at start,
with the value to write.

This page is written from \`src/daemon/option-table.ts\` by \`npm run docs\`.

| option | environment | default | what it does |
| --- | --- | --- | --- |
`;

/** One row per reason, in the order of the code. */
export function failuresPage(): string {
  const rows = FAILURE_REASONS.map((reason) => {
    const { status, blame, text, fix } = FAILURES[reason];
    return row([`\`${reason}\``, String(status), WHO[blame], text, fix]);
  });
  return FAILURES_INTRODUCTION + rows.join('');
}

/** One row per option of the daemon, in the order of its help text. */
export function optionsPage(): string {
  const options: readonly OptionSpec<unknown>[] = Object.values(OPTION_TABLE);
  const rows = options.map(({ flag, placeholder, help, fallback }) => {
    const written = placeholder === undefined ? flag : `${flag} ${placeholder}`;
    const initially = fallback === undefined || fallback === '' ? 'not set' : `\`${fallback}\``;
    return row([`\`${written}\``, `\`${environmentName(flag)}\``, initially, help]);
  });
  return OPTIONS_INTRODUCTION + rows.join('');
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
}

if (import.meta.main) {
  const folder = path.resolve(import.meta.dirname, '../docs');
  writeFileSync(path.join(folder, 'failures.md'), failuresPage());
  writeFileSync(path.join(folder, 'options.md'), optionsPage());
}
