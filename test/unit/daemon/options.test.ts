import { describe, expect, it } from 'vitest';
import { environmentName } from '../../../src/daemon/option-spec.ts';
import { OPTION_TABLE } from '../../../src/daemon/option-table.ts';
import { type DaemonOptions, parseOptions } from '../../../src/daemon/options.ts';

function options(args: readonly string[], environment: NodeJS.ProcessEnv = {}): DaemonOptions {
  const parsed = parseOptions(args, environment, '1.2.3');
  if (parsed.kind !== 'options') throw new Error(parsed.text);
  return parsed.options;
}

function usage(args: readonly string[], environment: NodeJS.ProcessEnv = {}): string {
  const parsed = parseOptions(args, environment, '1.2.3');
  if (parsed.kind !== 'usage') throw new Error(`it was taken: ${JSON.stringify(parsed)}`);
  return parsed.text;
}

describe('the options of outcalld', () => {
  it('have the defaults of the design', () => {
    expect(options([])).toEqual({
      listen: { host: '0.0.0.0', port: 8080 },
      rules: '/etc/outcall/rules',
      ca: undefined,
      interceptLeafTtlSecs: 86_400,
      interceptBodyCapBytes: 1_048_576,
      upstreamDns: [],
      upstreamCa: undefined,
      allowPrivate: [],
      maxHeadBytes: 65_536,
      maxHeaders: 256,
      headTimeoutSecs: 10,
      helloTimeoutSecs: 10,
      connectTimeoutSecs: 10,
      idleTimeoutSecs: 300,
      maxConnectionsPerAgent: 1024,
      drainSecs: 30,
      adminSocket: '/run/outcall/admin.sock',
      lock: false,
      agentsSubnet: undefined,
      pool: undefined,
      dnsListen: undefined,
      transparentFd: undefined,
      workerUser: undefined,
      signerUser: undefined,
      workers: 0,
      enforcement: 'enforce',
      logLevel: 'info',
      logQueryValues: false,
    });
  });

  it('are plain data, so that they can be sent to another process', () => {
    const given = options(['--allow-private', '10.0.0.0/8', '--upstream-dns', '1.1.1.1']);
    expect(structuredClone(given)).toEqual(given);
  });

  it.each([
    ['--listen', '[::1]:0', { listen: { host: '::1', port: 0 } }],
    ['--listen', '127.0.0.1:65535', { listen: { host: '127.0.0.1', port: 65_535 } }],
    ['--intercept-leaf-ttl-secs', '60', { interceptLeafTtlSecs: 60 }],
    ['--intercept-leaf-ttl-secs', '604800', { interceptLeafTtlSecs: 604_800 }],
    ['--intercept-body-cap-bytes', '0', { interceptBodyCapBytes: 0 }],
    ['--intercept-body-cap-bytes', '16777216', { interceptBodyCapBytes: 16_777_216 }],
    [
      '--upstream-dns',
      '1.1.1.1, 9.9.9.9:5353,[2606:4700::1111]:53',
      { upstreamDns: ['1.1.1.1:53', '9.9.9.9:5353', '[2606:4700::1111]:53'] },
    ],
    ['--upstream-dns', '2606:4700::1111', { upstreamDns: ['[2606:4700::1111]:53'] }],
    ['--allow-private', '10.1.0.0/16,fd00::/8', { allowPrivate: ['10.1.0.0/16', 'fd00::/8'] }],
    ['--drain-secs', '0', { drainSecs: 0 }],
    ['--log-level', 'debug', { logLevel: 'debug' }],
    ['--enforcement', 'audit', { enforcement: 'audit' }],
  ])('take %s %s', (flag, text, expected) => {
    expect(options([flag, text])).toMatchObject(expected);
    expect(options([], { [environmentName(flag)]: text })).toMatchObject(expected);
  });

  it.each([
    ['--listen', '8080', '0.0.0.0:8080'],
    ['--listen', ':8080', '0.0.0.0:8080'],
    ['--listen', 'localhost:8080', '0.0.0.0:8080'],
    ['--listen', '127.0.0.1:65536', '0.0.0.0:8080'],
    ['--listen', '127.1:80', '0.0.0.0:8080'],
    ['--listen', '::1:8080', '0.0.0.0:8080'],
    ['--intercept-leaf-ttl-secs', '59', '60'],
    ['--intercept-leaf-ttl-secs', '604801', '604800'],
    ['--intercept-leaf-ttl-secs', '1d', 'a number from 60 to 604800'],
    ['--intercept-body-cap-bytes', '-1', 'a number from 0 to 16777216'],
    ['--intercept-body-cap-bytes', '16777217', '16777216'],
    ['--intercept-body-cap-bytes', '1e3', 'a number from 0 to 16777216'],
    ['--intercept-body-cap-bytes', '0x10', 'a number from 0 to 16777216'],
    ['--upstream-dns', 'dns.example:53', '1.1.1.1:53'],
    ['--upstream-dns', '1.1.1.1:0', '1.1.1.1:53'],
    ['--upstream-dns', '1.1.1.1,,9.9.9.9', '1.1.1.1:53'],
    ['--allow-private', '10.0.0.1/8', '10.0.0.0/8'],
    ['--allow-private', 'internal', '10.0.0.0/8'],
    ['--max-head-bytes', '0', '1024'],
    ['--max-headers', '100000', '4096'],
    ['--head-timeout-secs', '0', '1'],
    ['--hello-timeout-secs', 'ten', 'a number from 1 to 604800'],
    ['--idle-timeout-secs', '', 'a number from 1 to 604800'],
    ['--connect-timeout-secs', '1.5', 'a number from 1 to 604800'],
    ['--max-connections-per-agent', '0', '1'],
    ['--drain-secs', '604801', '604800'],
    ['--workers', '257', '256'],
    ['--log-level', 'verbose', 'info'],
    ['--enforcement', 'maybe', 'audit'],
    ['--admin-socket', `/run/${'x'.repeat(120)}`, '/run/outcall/admin.sock'],
    ['--rules', '', '/etc/outcall/rules'],
  ])('refuse %s %j and say what to write', (flag, text, write) => {
    expect(usage([flag, text])).toContain(`outcalld: ${flag}: ${JSON.stringify(text)} `);
    expect(usage([flag, text])).toContain(`; write ${flag} ${write}\n`);
    const name = environmentName(flag);
    if (text !== '') expect(usage([], { [name]: text })).toContain(`; write ${name}=${write}\n`);
  });

  it('report every problem at once, each on its line', () => {
    const text = usage(['--listen', 'x', '--workers', '999', '--ca-key', '/k'], { OUTCALL_DRAIN_SECS: 'soon' });
    const lines = text.trimEnd().split('\n');
    expect(lines.map((line) => line.split(':')[1]?.trim())).toEqual([
      '--listen',
      'OUTCALL_DRAIN_SECS',
      '--workers',
      '--ca-key',
    ]);
  });

  it('prefer the flag over the environment, and a flag that is bad is not rescued by it', () => {
    expect(options(['--drain-secs', '5'], { OUTCALL_DRAIN_SECS: '7' }).drainSecs).toBe(5);
    expect(options([], { OUTCALL_DRAIN_SECS: '7' }).drainSecs).toBe(7);
    expect(usage(['--drain-secs', 'x'], { OUTCALL_DRAIN_SECS: '7' })).toContain('--drain-secs: "x"');
  });

  it('count an empty variable as not set, as compose files write it', () => {
    expect(options([], { OUTCALL_CA_CERT: '', OUTCALL_CA_KEY: '', OUTCALL_DRAIN_SECS: '' })).toEqual(options([]));
  });

  it('want both files of the CA or neither', () => {
    expect(options(['--ca-cert', '/c', '--ca-key', '/k']).ca).toEqual({ certFile: '/c', keyFile: '/k' });
    expect(options(['--ca-cert', '/c'], { OUTCALL_CA_KEY: '/k' }).ca).toEqual({ certFile: '/c', keyFile: '/k' });
    expect(usage(['--ca-cert', '/c'])).toContain('set without its key; write --ca-key');
    expect(usage(['--ca-key', '/k'])).toContain('set without its certificate; write --ca-cert');
  });

  it('know a switch by flag and by environment', () => {
    expect(options(['--log-query-values']).logQueryValues).toBe(true);
    expect(options([], { OUTCALL_LOG_QUERY_VALUES: 'true' }).logQueryValues).toBe(true);
    expect(options([], { OUTCALL_LOG_QUERY_VALUES: '0' }).logQueryValues).toBe(false);
    expect(usage([], { OUTCALL_LOG_QUERY_VALUES: 'yes' })).toContain('OUTCALL_LOG_QUERY_VALUES=true');
  });

  it('name the flag that was meant when one is misspelt', () => {
    expect(usage(['--lisen', '127.0.0.1:1'])).toMatch(/unknown option '--lisen'[\s\S]*Did you mean --listen\?/);
    expect(usage(['extra'])).toContain('too many arguments');
    expect(usage(['--listen'])).toContain('argument missing');
  });

  it('warn of a variable that looks like an option and is none', () => {
    const parsed = parseOptions([], { OUTCALL_DRAIN_SEC: '5', OUTCALL_DRAIN_SECS: '5', OTHER: 'x' }, '1.2.3');
    expect(parsed).toMatchObject({ kind: 'options', warnings: [expect.stringContaining('OUTCALL_DRAIN_SEC ')] });
  });

  it('print help and version, and every option stands in the help', () => {
    expect(parseOptions(['--version'], {}, '1.2.3')).toEqual({ kind: 'done', text: '1.2.3\n' });
    const help = parseOptions(['--help'], {}, '1.2.3');
    expect(help.kind).toBe('done');
    for (const { flag } of Object.values(OPTION_TABLE)) expect((help as { text: string }).text).toContain(flag);
  });

  it('accept each of their own defaults when it is written out', () => {
    for (const { flag, fallback, placeholder } of Object.values(OPTION_TABLE)) {
      if (fallback === undefined || placeholder === undefined) continue;
      expect(options([flag, fallback])).toEqual(options([]));
    }
  });
});
