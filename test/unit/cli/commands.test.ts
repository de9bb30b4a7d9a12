import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RulesAnswer, StatusAnswer } from '../../../src/domain/admin-api.ts';
import { VERSION } from '../../../src/domain/version.ts';
import { TempFolder } from '../../kit/temp.ts';
import { aRecord } from '../audit/a-record.ts';
import { FakeDaemon } from './fake-daemon.ts';
import { runCli } from './run-cli.ts';

const GOOD = 'version: "1"\nrules:\n  - { id: a, condition: http.host == "a.test", action: allow }\n';
const INTERCEPT = GOOD.replace('action: allow', 'action: allow, egress: { mode: intercept }');
const BAD = 'version: "1"\nrules:\n  - { id: a, condition: htp.host == "a.test", action: maybe }\n';
const PROBLEM = { severity: 'error', file: 'a.yaml', line: 3, column: 9, message: 'no such name', fix: 'write http' };

const STATUS: StatusAnswer = {
  version: '0.1.0',
  pid: 7,
  state: 'ready',
  started_at: '2026-11-05T12:00:00.000Z',
  uptime_secs: 3_700,
  admin_listen: null,
  metrics_listen: null,
  listen: '0.0.0.0:8080',
  rules_path: '/etc/outcall/rules',
  generation: 3,
  rules: 12,
  loaded_at: '2026-11-05T12:30:00.000Z',
  reload_problems: [],
  workers: [
    { id: 0, pid: 8, listening: true, open_flows: 2, generation: 3, restarts: 0 },
    { id: 1, pid: null, listening: false, open_flows: null, generation: 3, restarts: 2 },
  ],
  open_flows: 2,
  lock: 'intact',
  isolated: null,
  ca_loaded: true,
  enforcement: 'enforce',
  rules_in_audit: 0,
  audit_blocked: false,
};

describe('outcall', () => {
  it('bare prints worked commands and ends with 0', async () => {
    const { code, out, err } = await runCli();
    expect([code, err]).toEqual([0, '']);
    for (const command of [
      'outcall ca init',
      'outcall rules check',
      'outcalld --rules',
      'outcall logs --follow',
      'curl --proxy',
    ]) {
      expect(out).toContain(command);
    }
  });

  it('every command that it shows is one that it has', async () => {
    const { out } = await runCli();
    const shown = [...out.matchAll(/^ {2}outcall ((?:[a-z]+ ?)+)/gm)].map((match) => match[1]!.trim());
    expect(shown.length).toBeGreaterThan(5);
    for (const command of shown) expect(await runCli(...command.split(' '), '--help')).toMatchObject({ code: 0 });
  });

  it('has the version of package.json', async () => {
    const text = fs.readFileSync(path.join(import.meta.dirname, '../../../package.json'), 'utf8');
    expect(VERSION).toBe((JSON.parse(text) as { version: string }).version);
    expect(await runCli('--version')).toMatchObject({ code: 0, out: `${VERSION}\n` });
  });

  it.each([
    [['statsu'], /Did you mean status\?/],
    [['rules', 'chek'], /Did you mean check\?/],
    [['status', '--jsno'], /Did you mean --json\?/],
    [['rules', 'check'], /missing required argument/],
    [['logs', '--tail', 'all'], /--tail: "all" is not a number from 0 to 1000; write --tail 100/],
    [['logs', '--tail', '1001'], /--tail: "1001" is not/],
    [['logs', '--verdict', 'denied'], /Allowed choices are allow, block, failed, would_block/],
  ])('refuses %j as wrong usage with 2', async (args, message) => {
    const { code, out, err } = await runCli(...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(message);
  });

  it.each([['status'], ['rules list'], ['rules reload'], ['logs'], ['logs --follow']])(
    '%s says which socket nobody answers on, and how to start',
    async (command) => {
      using folder = new TempFolder();
      const socket = path.join(folder.path, 'admin.sock');
      const { code, out, err } = await runCli(...command.split(' '), '--admin-socket', socket);
      expect([code, out]).toEqual([1, '']);
      expect(err).toContain(`there is no socket ${socket}`);
      expect(err).toContain('outcalld --rules');
    },
  );
});

describe('outcall rules check', () => {
  it('ends with 0 on good rules, in files and folders alike', async () => {
    using folder = new TempFolder();
    const file = folder.write('a.yaml', GOOD);
    for (const target of [file, folder.path]) {
      expect(await runCli('rules', 'check', target)).toMatchObject({
        code: 0,
        out: expect.stringContaining('1 rule in 1 file: no errors'),
      });
    }
  });

  it('ends with 1 on bad ones and prints every problem with file, line and fix', async () => {
    using folder = new TempFolder();
    const file = folder.write('a.yaml', BAD);
    const { code, out, err } = await runCli('rules', 'check', file);
    expect(code).toBe(1);
    expect(out).toMatch(new RegExp(`^${file}:3:\\d+: error: .*htp`, 'm'));
    expect(out).toMatch(/maybe/);
    expect(err).toMatch(/^outcall: 2 errors in 1 file\n$/);
    const json = await runCli('rules', 'check', '--json', file);
    expect(JSON.parse(json.out)).toMatchObject([{ severity: 'error', file, line: 3 }, { severity: 'error' }]);
    expect(json.code).toBe(1);
  });

  it('checks several files as one set: the same id in two of them is an error', async () => {
    using folder = new TempFolder();
    const [a, b] = [folder.write('a.yaml', GOOD), folder.write('sub/b.yaml', GOOD)];
    expect((await runCli('rules', 'check', a, b)).code).toBe(1);
    fs.writeFileSync(b, GOOD.replace('id: a', 'id: b'));
    expect(await runCli('rules', 'check', a, b)).toMatchObject({
      code: 0,
      out: expect.stringContaining('2 rules in 2 files'),
    });
  });

  it('takes mode: intercept, and refuses it for a daemon without a CA', async () => {
    using folder = new TempFolder();
    const file = folder.write('a.yaml', INTERCEPT);
    expect((await runCli('rules', 'check', file)).code).toBe(0);
    expect(await runCli('rules', 'check', '--no-ca', file)).toMatchObject({
      code: 1,
      out: expect.stringContaining('intercept'),
    });
  });

  it('ends with 1 on a file that is not there', async () => {
    expect(await runCli('rules', 'check', '/nonexistent/x.yaml')).toMatchObject({
      code: 1,
      out: expect.stringContaining('/nonexistent/x.yaml'),
    });
  });
});

describe('outcall rules schema', () => {
  it('prints a JSON Schema', async () => {
    const { code, out } = await runCli('rules', 'schema');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ $schema: expect.stringContaining('json-schema.org'), type: 'object' });
  });
});

describe('outcall rules list', () => {
  it('prints the rules in force as a table, or as they came', async () => {
    const rule = { file: 'a.yaml', line: 3, description: null, action: 'allow', mode: 'intercept' } as const;
    const body: RulesAnswer = {
      generation: 3,
      rules: [{ ...rule, id: 'messages-only', priority: 10, condition: 'http.host ==\n  "a.test"' }],
    };
    await using daemon = await FakeDaemon.start({ 'GET /v1/rules': { body } });
    const { code, out } = await runCli('rules', 'list', '--admin-socket', daemon.socketPath);
    expect(code).toBe(0);
    expect(out).toContain('10        allow   intercept  messages-only  http.host == "a.test"\n');
    expect(out).toContain('Generation 3');
    expect(JSON.parse((await runCli('rules', 'list', '--json', '--admin-socket', daemon.socketPath)).out)).toEqual(
      body,
    );
  });
});

describe('outcall rules reload', () => {
  it('says which generation is in force, with its warnings', async () => {
    const body = { generation: 4, rules: 1, warnings: [{ ...PROBLEM, severity: 'warning' }] };
    await using daemon = await FakeDaemon.start({ 'POST /v1/rules/reload': { body } });
    const { code, out, err } = await runCli('rules', 'reload', '--admin-socket', daemon.socketPath);
    expect([code, out]).toEqual([0, 'generation 4 is in force: 1 rule\n']);
    expect(err).toContain('a.yaml:3:9: warning: no such name');
  });

  it('prints every problem of a refused set and ends with 1', async () => {
    const body = {
      type: 'about:blank',
      title: 'x',
      status: 422,
      detail: 'generation 3 stays in force',
      problems: [PROBLEM, PROBLEM],
    };
    await using daemon = await FakeDaemon.start({
      'POST /v1/rules/reload': { status: 422, type: 'application/problem+json', body },
    });
    const { code, err } = await runCli('rules', 'reload', '--admin-socket', daemon.socketPath);
    expect(code).toBe(1);
    expect(err.match(/a\.yaml:3:9: error: no such name/g)).toHaveLength(2);
    expect(err).toContain('outcall: generation 3 stays in force\n');
  });
});

describe('outcall status', () => {
  it('prints what runs, or the answer as it came', async () => {
    await using daemon = await FakeDaemon.start({ 'GET /v1/status': { body: STATUS } });
    const { code, out } = await runCli('status', '--admin-socket', daemon.socketPath);
    expect(code).toBe(0);
    expect(out).toMatch(/^state +ready$/m);
    expect(out).toMatch(/^network lock +intact$/m);
    expect(out).toMatch(/^enforcement +on$/m);
    expect(out).toMatch(/^up +1 h 1 min$/m);
    expect(out).toMatch(/^workers +0: pid 8, 1: being replaced, replaced 2 times$/m);
    expect(out).not.toContain('not in force');
    expect(JSON.parse((await runCli('status', '--json', '--admin-socket', daemon.socketPath)).out)).toEqual(STATUS);
  });

  it('says loudly that nothing is blocked, or not by every rule', async () => {
    for (const [audit, line] of [
      [{ enforcement: 'audit', rules_in_audit: 12 }, /^enforcement +AUDIT: nothing is blocked by default/m],
      [{ rules_in_audit: 2 }, /^enforcement +on, but 2 of 12 rules are in AUDIT and do not block$/m],
    ] as const) {
      await using daemon = await FakeDaemon.start({ 'GET /v1/status': { body: { ...STATUS, ...audit } } });
      expect((await runCli('status', '--admin-socket', daemon.socketPath)).out).toMatch(line);
    }
  });

  it('says so when the rules on disk are refused or records cannot be written', async () => {
    const body = { ...STATUS, audit_blocked: true, reload_problems: [PROBLEM] };
    await using daemon = await FakeDaemon.start({ 'GET /v1/status': { body } });
    const { out } = await runCli('status', '--admin-socket', daemon.socketPath);
    expect(out).toContain('a.yaml:3:9: error: no such name');
    expect(out).toContain('new flows are refused');
  });
});

describe('outcall grants', () => {
  const GRANT = {
    host: 'git.test',
    address: '10.203.128.9',
    port: 22,
    expires_secs: 540,
    agents: ['10.203.0.11', '10.203.0.12'],
  };

  it('prints one line per port of a name, or the answer as it came', async () => {
    const body = { grants: [GRANT, { ...GRANT, host: 'db.example', port: 5432, expires_secs: null, agents: [] }] };
    await using daemon = await FakeDaemon.start({ 'GET /v1/grants': { body } });
    const { code, out } = await runCli('grants', '--admin-socket', daemon.socketPath);
    expect(code).toBe(0);
    expect(out.split('\n')).toEqual([
      'HOST        PORT  ADDRESS       ENDS IN  AGENTS',
      'git.test    22    10.203.128.9  540 s    10.203.0.11 10.203.0.12',
      'db.example  5432  10.203.128.9  over',
      '',
    ]);
    expect(JSON.parse((await runCli('grants', '--json', '--admin-socket', daemon.socketPath)).out)).toEqual(body);
  });

  it('says so where there are none', async () => {
    await using daemon = await FakeDaemon.start({ 'GET /v1/grants': { body: { grants: [] } } });
    expect((await runCli('grants', '--admin-socket', daemon.socketPath)).out).toMatch(
      /^No agent has asked for a name /,
    );
  });
});

describe('outcall logs', () => {
  it('prints one readable line per record, or the records as they are', async () => {
    const lines = `${JSON.stringify(aRecord())}\n${JSON.stringify(aRecord({ verdict: 'block', status: 403 }))}\n`;
    await using daemon = await FakeDaemon.start({
      'GET /v1/records?tail=100': { type: 'application/x-ndjson', body: lines },
      'GET /v1/records?tail=5&follow=1': { type: 'application/x-ndjson', body: lines },
    });
    const readable = await runCli('logs', '--admin-socket', daemon.socketPath);
    expect(readable.out.split('\n')).toHaveLength(3);
    expect(readable.out).toContain('12:00:01 web-1 allow  POST    https://api.example.com/v1/messages');
    expect(await runCli('logs', '-f', '--tail', '5', '--json', '--admin-socket', daemon.socketPath)).toMatchObject({
      code: 0,
      out: lines,
    });
  });

  it('asks for the records of an agent, a host, a verdict or a rule, whatever characters they have', async () => {
    const asked = '/v1/records?tail=100&follow=1&agent=web+%26+1&host=*.example.com&verdict=block&rule=a%2Fb';
    const body = `${JSON.stringify(aRecord())}\n`;
    await using daemon = await FakeDaemon.start({ [`GET ${asked}`]: { type: 'application/x-ndjson', body } });
    const filters = ['--agent', 'web & 1', '--host', '*.example.com', '--verdict', 'block', '--rule', 'a/b'];
    const { code, out } = await runCli('logs', '--follow', '--json', ...filters, '--admin-socket', daemon.socketPath);
    expect([code, out]).toEqual([0, body]);
    expect(daemon.asked).toEqual([`GET ${asked}`]);
  });
});
