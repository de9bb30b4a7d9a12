import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TempFolder } from '../../kit/temp.ts';
import { aRecord } from '../audit/a-record.ts';
import { FakeDaemon } from './fake-daemon.ts';
import { runCli } from './run-cli.ts';

const RULES = `version: "1"
rules:
  - id: no-admin
    condition: http.host == "api.test" && http.path.startsWith("/admin")
    action: block
  - id: messages-only
    condition: |
      http.host == "api.test" && // the API
      http.method == "POST" && http.path.startsWith("/v1/messages")
    action: allow
    egress: { mode: intercept }
`;

const CASES = `version: "1"
cases:
  - name: messages go out
    request: POST https://api.test/v1/messages
    expect: allow
    rule: messages-only
  - name: nobody is an administrator
    request: POST https://api.test/admin
    expect: block
    rule: no-admin
`;

const folder = new TempFolder();
afterAll(() => folder[Symbol.dispose]());
const rulesFile = folder.write('good/rules.yaml', RULES);
folder.write('good/rules.test.yaml', CASES);

const asked = { host: 'api.test', path: '/v1/messages', method: 'POST', rule: 'messages-only' };
const RECORDS = [
  aRecord({ ...asked, flow: 'f-allowed' }),
  aRecord({ ...asked, flow: 'f-changed', method: 'GET' }),
  aRecord({ ...asked, flow: 'f-changed', host: null, verdict: 'failed', reason: 'bad_request' }),
];
const recordsFile = folder.write('records.jsonl', RECORDS.map((record) => `${JSON.stringify(record)}\n`).join(''));

describe('outcall rules explain', () => {
  it('shows the phases, the rules and their parts, with what is compared where it is not true', async () => {
    const { code, out } = await runCli('rules', 'explain', rulesFile, '--host', 'api.test', '--path', '/v1/messages');
    expect(code).toBe(0);
    expect(out.split('\n\n').at(-1)).toBe(`GET https://api.test/v1/messages
  no-admin (block, ${rulesFile}:3): does not match
      http.host == "api.test"         true
      http.path.startsWith("/admin")  false    http.path is "/v1/messages"
  messages-only (allow intercept, ${rulesFile}:6): does not match
      http.host == "api.test"               true
      http.method == "POST"                 false    http.method is "GET"
      http.path.startsWith("/v1/messages")  true
  => block by default: no rule allows this request
`);
  });

  it('takes header fields, body and agent from its options, and prints the same as JSON', async () => {
    const file = folder.write(
      'facts.yaml',
      JSON.stringify({
        version: '1',
        rules: [
          {
            id: 'all',
            action: 'allow',
            condition:
              'http.host == "api.test" && network.port == 8443 && http.header("x-team") == "red" && http.body == "hi" && ' +
              'agent.name == "web-1" && agent.labels["tier"] == "1"',
            egress: { mode: 'intercept', match_body: true },
          },
        ],
      }),
    );
    const facts = ['--host', 'API.test', '--port', '8443', '--header', 'X-Team: red', '--body', 'hi'];
    const agent = ['--agent', 'web-1', '--agent-label', 'tier=1'];
    const answered = async (...args: string[]) => {
      const { out } = await runCli('rules', 'explain', file, '--json', ...args);
      return (JSON.parse(out) as { phases: object[] }).phases.at(-1);
    };
    expect(await answered(...facts, ...agent)).toMatchObject({ phase: 'request', verdict: 'allow', rule: 'all' });
    expect(await answered(...facts)).toMatchObject({ phase: 'connect', verdict: 'block', rule: 'default' });
  });

  it('takes the ClientHello and the answer from its options', async () => {
    const file = folder.write(
      'late.yaml',
      `version: "1"
rules:
  - id: named
    condition: http.host == "a.test"
    action: allow
    egress: { mode: proxy, tls: { sni: { exact: [a.test] } } }
  - id: answered
    condition: http.host == "b.test"
    action: allow
    egress: { mode: intercept, response: 'http.response.headers["content-type"] == "text/plain"' }
`,
    );
    const answered = async (...args: string[]) => {
      const { out } = await runCli('rules', 'explain', file, '--json', ...args);
      return (JSON.parse(out) as { phases: object[] }).phases.at(-1);
    };
    expect(await answered('--host', 'a.test')).toMatchObject({ phase: 'connect', verdict: 'unknown' });
    expect(await answered('--host', 'a.test', '--alpn', 'h2')).toMatchObject({ phase: 'hello', verdict: 'allow' });
    expect(await answered('--host', 'a.test', '--sni', 'b.test')).toMatchObject({ phase: 'hello', verdict: 'block' });
    const request = ['--host', 'b.test', '--path', '/', '--status', '200', '--response-header'];
    expect(await answered(...request, 'Content-Type: text/plain')).toMatchObject({
      phase: 'response',
      verdict: 'allow',
    });
    expect(await answered(...request, 'Content-Type: text/html')).toMatchObject({
      phase: 'response',
      verdict: 'block',
    });
  });

  it('replays the records of a flow, and says where the answer is another now', async () => {
    const replay = (flow: string) => runCli('rules', 'explain', rulesFile, '--flow', flow, '--records', recordsFile);
    expect((await replay('f-allowed')).out).toContain('the same as recorded, by generation 3');
    const changed = (await replay('f-changed')).out;
    expect(changed).toContain('recorded by generation 3: allow by messages-only; now: block by default');
    expect(changed).toContain('cannot be decided again');
    expect(await replay('f-none')).toMatchObject({
      code: 6,
      err: expect.stringContaining('no record of the flow f-none'),
    });
  });

  it('asks the daemon for its rules and records where it is given none', async () => {
    await using daemon = await FakeDaemon.start({
      'GET /v1/status': { body: { rules_path: rulesFile } },
      'GET /v1/records?tail=1000': { type: 'application/x-ndjson', body: `${JSON.stringify(RECORDS[0])}\n` },
    });
    const at = ['--admin-socket', daemon.socketPath];
    expect((await runCli('rules', 'explain', '--flow', 'f-allowed', ...at)).out).toContain('the same as recorded');
    expect(daemon.asked).toEqual(['GET /v1/status', 'GET /v1/records?tail=1000']);
  });

  it.each([
    [[], /name a host/],
    [['--host', 'a b'], /is not a host name/],
    [['--host', 'a.test', '--port', '0'], /not a port/],
    [['--host', 'a.test', '--path', '/a/../b'], /refused before any rule/],
    [['--host', 'a.test', '--header', 'nothing'], /write it as "X-Team: red"/],
    [['--host', 'a.test', '--status', '99'], /not a status/],
    [['--host', 'a.test', '--sni', 'a b'], /not a host name/],
    [['--host', 'a.test', '--scheme', 'ftp'], /neither https nor http/],
  ])('is wrong usage with %j', async (args, message) => {
    const { code, err } = await runCli('rules', 'explain', rulesFile, ...args);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });
});

describe('outcall rules test', () => {
  it('passes cases beside a file or in a folder, and names each', async () => {
    const { code, out } = await runCli('rules', 'test', rulesFile, join(folder.path, 'good'));
    expect(code).toBe(0);
    const once =
      'ok    messages go out\nok    nobody is an administrator\n2 cases, 0 failed; 100 % of the rules decide a case\n';
    expect(out).toBe(once + once);
  });

  it('fails with the reason and the parts of each rule where a case fails', async () => {
    const rules = folder.write('bad/rules.yaml', RULES);
    folder.write('bad/rules.test.yaml', CASES.replace('POST https://api.test/v1', 'PUT https://api.test/v1'));
    const { code, out, err } = await runCli('rules', 'test', rules);
    expect(code).toBe(1);
    expect(err).toBe('outcall: 1 case failed\n');
    expect(out).toContain('FAIL  messages go out');
    expect(out).toContain('expected allow, got block by default');
    expect(out).toContain('http.method is "PUT"');
    expect(out).toContain('no case is decided by rule messages-only');
  });

  it('holds the rules to a least coverage where it is given one', async () => {
    const rules = folder.write('half/rules.yaml', RULES);
    folder.write('half/rules.test.yaml', CASES.slice(0, CASES.indexOf('  - name: nobody')));
    expect((await runCli('rules', 'test', rules, '--min-coverage', '50')).code).toBe(0);
    const low = await runCli('rules', 'test', rules, '--min-coverage', '51');
    expect(low).toMatchObject({ code: 1, err: 'outcall: 50 % of the rules decide a case, not 51 %\n' });
    expect((await runCli('rules', 'test', rules, '--min-coverage', 'all')).code).toBe(2);
  });

  it('fails with every mistake where cases or rules cannot be used, or are not there', async () => {
    const rules = folder.write('wrong/rules.yaml', RULES);
    expect((await runCli('rules', 'test', rules)).err).toContain('rules.test.yaml:1:1: error: cannot be read: ENOENT');
    folder.write('wrong/rules.test.yaml', 'version: "1"\ncases: []\n');
    expect((await runCli('rules', 'test', rules)).err).toContain('rules.test.yaml:2:8: error: cases: too short');
    folder.write('wrong/rules.yaml', 'version: "2"\n');
    expect(await runCli('rules', 'test', rules)).toMatchObject({
      code: 1,
      err: expect.stringContaining('rules.yaml:1:10'),
    });
  });
});

describe('outcall rules diff', () => {
  const changedFile = folder.write('changed.yaml', RULES.replace('"POST"', '"GET"'));

  it('exits 0 where nothing would change, and 3 with each change where something would', async () => {
    const same = await runCli('rules', 'diff', rulesFile, rulesFile, recordsFile);
    expect(same).toMatchObject({
      code: 0,
      out: '0 would change, 0 may change, 2 would not; 1 record does not say what was asked\n',
    });
    const { code, out, err } = await runCli('rules', 'diff', rulesFile, changedFile, recordsFile);
    expect({ code, err }).toEqual({ code: 3, err: '' });
    expect(out).toBe(`allow -> block  POST https://api.test/v1/messages  (web-1, 1 record)
  old: allow by messages-only (intercept)
  new: block by default: no rule allows this request
block -> allow  GET https://api.test/v1/messages  (web-1, 1 record)
  old: block by default: no rule allows this request
  new: allow by messages-only (intercept)
2 would change, 0 may change, 0 would not; 1 record does not say what was asked
`);
    const json = await runCli('rules', 'diff', rulesFile, changedFile, recordsFile, '--json');
    expect(JSON.parse(json.out)).toMatchObject({
      changed: [{ records: 1, new: { verdict: 'block', rule: 'default' } }, {}],
    });
  });

  it('fails where there are no records, no such file, or rules with mistakes', async () => {
    const empty = folder.write('empty.jsonl', 'Listening on port 1\n{"level":"info"}\n');
    expect(await runCli('rules', 'diff', rulesFile, rulesFile, empty)).toMatchObject({
      code: 1,
      err: expect.stringContaining('no audit records from'),
    });
    expect(await runCli('rules', 'diff', rulesFile, rulesFile, '/nowhere')).toMatchObject({
      code: 1,
      err: expect.stringContaining('ENOENT'),
    });
    expect(await runCli('rules', 'diff', rulesFile, recordsFile, recordsFile)).toMatchObject({
      code: 1,
      err: expect.stringContaining('have errors'),
    });
  });
});

describe('outcall rules suggest', () => {
  it('prints rules that the check accepts, from a file or from the daemon, and says how many there are to look at', async () => {
    const mixed = folder.write(
      'mixed.jsonl',
      `not a record\n${RECORDS.map((record) => JSON.stringify(record)).join('\n')}`,
    );
    const { code, out, err } = await runCli('rules', 'suggest', mixed);
    expect(code).toBe(0);
    expect(err).toBe(`1 line from ${mixed} passed over: not audit records\n1 rule, 1 with something to check\n`);
    const file = folder.write('suggested.yaml', out);
    expect(await runCli('rules', 'check', file)).toMatchObject({ code: 0, out: '1 rule in 1 file: no errors\n' });
    await using daemon = await FakeDaemon.start({
      'GET /v1/records?tail=1000': { type: 'application/x-ndjson', body: `${JSON.stringify(RECORDS[0])}\n` },
    });
    expect((await runCli('rules', 'suggest', '--admin-socket', daemon.socketPath)).out).toContain(
      '- id: api-test-post',
    );
  });

  it('fails where nothing was let through', async () => {
    const blocked = folder.write('blocked.jsonl', JSON.stringify(aRecord({ verdict: 'block', rule: 'default' })));
    expect(await runCli('rules', 'suggest', blocked)).toMatchObject({ code: 1, out: '' });
  });
});
