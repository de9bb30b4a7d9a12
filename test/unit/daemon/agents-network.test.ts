import dns from 'node:dns/promises';
import { describe, expect, it, vi } from 'vitest';
import { parseOptions } from '../../../src/daemon/options.ts';
import { checkUsers } from '../../../src/daemon/start-checks.ts';
import { spawnDaemon, startDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { allowHosts } from '../../kit/rules.ts';

/** The agents' network of these tests is loopback, without a lock: see test/jail for one with it. */
const NETWORK = ['--agents-subnet', '127.0.0.0/8', '--pool', '127.200.0.0/16', '--dns-listen', '127.0.0.1:0'];

async function resolverOf(daemon: TestDaemon): Promise<dns.Resolver> {
  const line = await daemon.log.some((each) => each['event'] === 'dns_ready');
  const resolver = new dns.Resolver({ timeout: 5_000, tries: 1 });
  resolver.setServers([String(line['listen'])]);
  return resolver;
}

describe('a daemon with a pool', () => {
  it('answers names by the rules in force, and records each question', async () => {
    await using daemon = await startDaemon({ rules: allowHosts('web.test'), args: NETWORK });
    const resolver = await resolverOf(daemon);
    expect((await resolver.resolve4('web.test'))[0]).toMatch(/^127\.200\./);
    expect(await daemon.records.next()).toMatchObject({
      subsystem: 'dns',
      event: 'query',
      verdict: 'allow',
      host: 'web.test',
    });
    await expect(resolver.resolve4('other.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(await daemon.records.next()).toMatchObject({ verdict: 'block', host: 'other.test' });
    daemon.folder.write('rules/rules.yaml', allowHosts('other.test'));
    expect((await daemon.cli('rules', 'reload')).code).toBe(0);
    expect((await resolver.resolve4('other.test'))[0]).toMatch(/^127\.200\./);
    await expect(resolver.resolve4('web.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('without a lock says that it is off, and has no grants to list', async () => {
    await using daemon = await startDaemon({ rules: allowHosts('web.test'), args: NETWORK });
    expect(await daemon.status()).toMatchObject({ state: 'ready', lock: 'off' });
    expect((await daemon.cli('grants', '--json')).stdout).toBe('{"grants":[]}\n');
  });

  it.each([
    [['--transparent-fd', '9'], '--transparent-fd: descriptor 9 is not a listening TCP socket over IPv4'],
    [['--pool', '127.200.0.0/30'], '--pool: "127.200.0.0/30" is no IPv4 range with a prefix from 8 to 28'],
    [['--dns-listen', '192.0.2.1:53'], '--dns-listen: cannot listen on 192.0.2.1:53: this machine has no such address'],
  ])('does not start with %j, and says why', async (args, words) => {
    await using daemon = await spawnDaemon({ rules: allowHosts('web.test'), args: [...NETWORK, ...args] });
    expect(await daemon.exited).toBe(1);
    expect((await daemon.log.some(({ msg }) => msg.startsWith('outcalld: '))).msg).toContain(words);
  });
});

describe('--worker-user and --signer-user', () => {
  it('are for root alone to give, and left out by everybody else', () => {
    const optionsOf = (...args: readonly string[]) => {
      const parsed = parseOptions(args, {}, '1.2.3');
      if (parsed.kind !== 'options') throw new Error(parsed.text);
      return parsed.options;
    };
    const euid = vi.spyOn(process, 'geteuid' as never) as unknown as {
      mockReturnValue(uid: number): void;
      mockRestore(): void;
    };
    try {
      for (const flag of ['--worker-user', '--signer-user']) {
        euid.mockReturnValue(0);
        expect(() => checkUsers(optionsOf(flag, '10021:10021'))).not.toThrow();
        euid.mockReturnValue(1_000);
        expect(() => checkUsers(optionsOf(flag, '10021:10021'))).toThrow(
          `${flag}: only root can run a process as another user`,
        );
        expect(() => checkUsers(optionsOf())).not.toThrow();
      }
    } finally {
      euid.mockRestore();
    }
  });
});
