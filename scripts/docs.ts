/**
 * Writes the pages of docs/ that are tables of the code: failures, options, admin-api and metrics (`npm run docs`). They are never
 * edited by hand; tests hold them equal to the code, both ways.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { JSON_TYPE } from '../src/admin/route.ts';
import { ROUTES } from '../src/admin/routes.ts';
import { METRIC_NAMES, METRICS } from '../src/audit/metrics.ts';
import { environmentName, type OptionSpec } from '../src/daemon/option-spec.ts';
import { OPTION_TABLE } from '../src/daemon/option-table.ts';
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

const ADMIN_API_INTRODUCTION = `# Admin API

What \`outcall\` asks, for programs of your own. It is on the Unix socket of \`--admin-socket\`, mode 0660: who may open it may use it.

    $ curl -s --unix-socket /run/outcall/admin.sock http://outcalld/v1/ready
    {"ready":true,"waiting_for":[]}

With \`--admin-listen 127.0.0.1:9901 --admin-token-file FILE\` it is on TCP too, on loopback alone, for whoever has the token: one line of 32
characters or more in a file of mode 0600 (\`umask 077; openssl rand -hex 32 > FILE\`). The request must name that address as its host, so
that no page in a browser gets here under a name of its own; there is no CORS. A CA with its key is taken on the socket only.

    $ curl -s -H "Authorization: Bearer $(cat FILE)" http://127.0.0.1:9901/v1/ready
    {"ready":true,"waiting_for":[]}

No agent reaches either: under \`--lock\` the kernel drops it, and the proxy dials the operator's ports on no address of the appliance,
whatever a rule or \`--allow-private\` names ([property 24](properties.md)).

\`/v1/openapi.json\` (OpenAPI 3.1) has every parameter and answer. Each error is a problem document (RFC 9457) whose \`detail\` says what to
do; a parameter that a route does not have is one.

- \`/v1/health\` asks whether somebody should look after the daemon: 200 when it is \`ready\`, or \`degraded\` and mending itself (a worker is
  being replaced); 503 when it is \`starting\`, \`draining\` or \`unlocked\`. The image's health check asks it.
- \`/v1/ready\` asks whether a flow that starts now would be served; 503 names what it waits for: \`starting\`, \`draining\`, \`unlocked\`,
  \`no_worker\`, \`audit_blocked\`. A daemon whose only worker is being replaced is healthy and not ready.
- \`/v1/rules/explain\` takes one question in the words of a [case](rule-tools.md), as
  \`{ "request": "POST https://api.example.com/v1/messages", "agent": { "name": "web-1" } }\`, and answers what
  \`outcall rules explain --json\` prints.
- Flows are filtered by \`agent\` (name or address), \`host\` (\`*.example.com\` is every name below), \`verdict\` and \`rule\`, as
  \`outcall logs\` does. \`/v1/flows/live\` sends each as a server-sent event named \`flow\`; a reader who falls 1 MiB behind is let go.

This page is written from the routes in \`src/admin\` by \`npm run docs\`.

| request | what it is for | takes | answers |
| --- | --- | --- | --- |
`;

const METRICS_INTRODUCTION = `# Metrics

In Prometheus' text format at \`/v1/metrics\` of the [admin API](admin-api.md), and with \`--metrics-listen HOST:PORT\` at \`/metrics\` there, without a
token. Off unless set. HOST is an address of loopback; with \`--lock\` it may be any that is not on the agents' network, 0.0.0.0 included,
since the lock lets only others in ([ADR 32](adr/0032-metrics-without-a-token.md)).

    scrape_configs:
      - job_name: outcall
        static_configs: [{ targets: ['127.0.0.1:9464'] }]

[compose/grafana/outcall.json](../compose/grafana/outcall.json) is a dashboard for Grafana (Dashboards, New, Import).

- Workers count in plain numbers where a record is written, or left out by \`log: false\`; the supervisor adds them up when it is asked. What a
  worker that dies had counted is kept as of the last 10 seconds. One record costs some 30 ns, of the 38 us of an intercepted request.
- \`outcall_fail_closed_total\` has faults alone, by the [reason](failures.md) and by who can act (\`blame\`); \`rule_error\` is a condition that
  could not be evaluated, and so blocked. What policy refuses is \`outcall_verdicts_total{verdict="block"}\`.
- Series are bounded: in each worker the first 100 agents and the first 1,000 pairs of agent and rule have their own, what comes later
  counts as \`other\`. So no counter ever falls. Agents that nobody told of are \`unknown\`, and no forged address makes a series.
- Alerts worth having: \`outcall_state{state="ready"} == 0\`, \`increase(outcall_fail_closed_total{blame=~"operator|appliance"}[5m]) > 0\`,
  \`increase(outcall_intercept_errors_total[5m]) > 0\`, \`outcall_rules_refused == 1\`, \`outcall_lock_state{state="broken"} == 1\`.

This page is written from \`src/audit/metrics.ts\` by \`npm run docs\`.

| metric | type | labels | what it is |
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

/** One row per route of the admin API, in the order of its document. */
export function adminApiPage(): string {
  const rows = ROUTES.map(({ method, path: target, summary, query = [], body, answers }) => {
    const types = [...new Set(answers.map(({ type }) => type))].filter((type) => type !== JSON_TYPE);
    const takes = [
      ...query.map(({ name }) => `\`${name}\``),
      ...(body === undefined ? [] : [`a body of ${body.types.join(' or ')}`]),
    ];
    return row([`\`${method} ${target}\``, summary, takes.join(', '), types.length === 0 ? 'JSON' : types.join(', ')]);
  });
  return ADMIN_API_INTRODUCTION + rows.join('');
}

/** One row per metric, in the order in which they are written. */
export function metricsPage(): string {
  const rows = METRIC_NAMES.map((name) => {
    const metric: { readonly type: string; readonly help: string; readonly labels?: readonly string[] } = METRICS[name];
    const labels = (metric.labels ?? []).map((label) => `\`${label}\``).join(', ');
    return row([`\`${name}\``, metric.type, labels, metric.help]);
  });
  return METRICS_INTRODUCTION + rows.join('');
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
}

if (import.meta.main) {
  const folder = path.resolve(import.meta.dirname, '../docs');
  writeFileSync(path.join(folder, 'failures.md'), failuresPage());
  writeFileSync(path.join(folder, 'options.md'), optionsPage());
  writeFileSync(path.join(folder, 'admin-api.md'), adminApiPage());
  writeFileSync(path.join(folder, 'metrics.md'), metricsPage());
}
