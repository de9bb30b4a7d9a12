import { describe, expect, it } from 'vitest';
import { parseOptions } from '../../../src/daemon/options.ts';

const LOCKED = [
  '--lock',
  ...['--agents-subnet', '10.203.0.0/16', '--pool', '10.203.128.0/17', '--worker-user', '10021:10021'],
];
const TOKEN = ['--admin-token-file', '/run/token'];

function problemsOf(...args: readonly string[]): string {
  const parsed = parseOptions([...args], {}, '1');
  return parsed.kind === 'usage' ? parsed.text : '';
}

describe('the options of the operator’s ports', () => {
  it.each([
    [['--admin-listen', '127.0.0.1:9901', ...TOKEN]],
    [['--admin-listen', '[::1]:9901', ...TOKEN]],
    [['--metrics-listen', '127.0.0.1:9464']],
    [['--metrics-listen', '127.8.0.1:0']],
    [[...LOCKED, '--metrics-listen', '0.0.0.0:9464']],
    [[...LOCKED, '--metrics-listen', '172.20.0.2:9464']],
  ])('take %j', (args) => {
    expect(problemsOf(...args)).toBe('');
  });

  it.each([
    [
      ['--admin-listen', '0.0.0.0:9901', ...TOKEN],
      '0.0.0.0:9901 is not on loopback; write --admin-listen 127.0.0.1:9901',
    ],
    [['--admin-listen', '10.0.0.5:9901', ...TOKEN], '10.0.0.5:9901 is not on loopback'],
    [[...LOCKED, '--admin-listen', '172.20.0.2:9901', ...TOKEN], 'is not on loopback'],
    [['--admin-listen', '[::]:9901', ...TOKEN], '[::]:9901 is not on loopback'],
    [['--admin-listen', '[::ffff:10.0.0.5]:9901', ...TOKEN], 'is not on loopback'],
    [['--admin-listen', 'localhost:9901', ...TOKEN], 'is not ADDRESS:PORT with an IP address'],
    [['--admin-listen', '127.0.0.1:9901'], 'it asks for a token; write --admin-token-file'],
    [TOKEN, 'nothing asks for it; write --admin-listen 127.0.0.1:9901 as well'],
    [['--admin-listen', '127.0.0.1:8080', ...TOKEN], '8080 is the port of --listen, which agents reach'],
    [
      ['--metrics-listen', '0.0.0.0:9464'],
      'without --lock agents could reach 0.0.0.0:9464; write --metrics-listen 127.0.0.1:9464',
    ],
    [['--metrics-listen', '172.20.0.2:9464'], 'without --lock agents could reach 172.20.0.2:9464'],
    [[...LOCKED, '--metrics-listen', '10.203.0.2:9464'], '10.203.0.2:9464 is on the agents’ network'],
    [[...LOCKED, '--metrics-listen', '[::]:9464'], '[::]:9464 is IPv6, which --lock closes'],
    [[...LOCKED, '--metrics-listen', '0.0.0.0:0'], '--lock opens one port, and 0 names none'],
    [[...LOCKED, '--metrics-listen', '0.0.0.0:8080'], '8080 is the port of --listen'],
    [
      ['--admin-listen', '127.0.0.1:9464', ...TOKEN, '--metrics-listen', '127.0.0.1:9464'],
      '9464 is the port of --admin-listen',
    ],
  ])('refuse %j, and say what to write', (args, message) => {
    expect(problemsOf(...args)).toContain(message);
  });
});
