import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import { spawnDaemon, startDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { allowPath, countingOrigin, getThrough } from './through-proxy.ts';

async function logText(daemon: TestDaemon): Promise<string> {
  await daemon.exited;
  await new Promise((resolve) => setImmediate(resolve));
  return daemon.log.all.map(({ msg }) => msg).join('\n');
}

describe('outcalld', () => {
  it('starts, serves by its rules, records, and ends with 0 on SIGTERM, taking its socket along', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/yes') });
    const base = `http://127.0.0.1:${origin.port}`;
    expect(await getThrough(daemon.port, `${base}/yes?token=secret`)).toMatchObject({
      status: 200,
      body: 'from the origin',
    });
    expect(await getThrough(daemon.port, `${base}/no`)).toMatchObject({ status: 403 });
    expect(origin.paths).toEqual(['/yes?token=secret']);
    const allowed = await daemon.records.some(({ verdict }) => verdict === 'allow');
    const blocked = await daemon.records.some(({ verdict }) => verdict === 'block');
    expect(allowed).toMatchObject({ rule: 'only', path: '/yes?token=[redacted]', generation: 1 });
    expect(blocked).toMatchObject({ rule: 'default', path: '/no' });
    expect(fs.statSync(daemon.adminSocket).mode & 0o777).toBe(0o660);
    expect(await daemon.stop()).toBe(0);
    expect(fs.existsSync(daemon.adminSocket)).toBe(false);
  });

  it('takes its options from the environment, flags before them', async () => {
    await using origin = await countingOrigin();
    const env = { OUTCALL_LOG_QUERY_VALUES: 'true', OUTCALL_WORKERS: '2', OUTCALL_DRAIN_SEC: '1' };
    await using daemon = await startDaemon({ rules: allowPath('/'), env });
    await getThrough(daemon.port, `http://127.0.0.1:${origin.port}/a?token=shown`);
    expect(await daemon.records.next()).toMatchObject({ path: '/a?token=shown' });
    expect((await daemon.status()).workers).toHaveLength(1); // the kit's --workers 1 wins
    expect(daemon.log.all.some(({ event }) => event === 'unknown_variable')).toBe(true);
  });

  it.each([
    [
      'bad options',
      { rules: allowPath('/'), args: ['--workers', 'x', '--drain-secs', '-1'] },
      2,
      [/--drain-secs/, /--workers/],
    ],
    ['an unknown flag', { rules: allowPath('/'), args: ['--worker', '1'] }, 2, [/Did you mean --workers\?/]],
    [
      'rules with errors, all of them printed',
      { rules: 'version: "1"\nrules:\n  - id: a\n    condition: nope\n    action: maybe\n' },
      1,
      [/nope/, /maybe/],
    ],
    [
      'no rule file',
      { rules: {}, args: ['--rules', '/nonexistent/rules'] },
      1,
      [/\/nonexistent\/rules.*cannot be read: ENOENT/],
    ],
    [
      'an intercept rule without a CA',
      { rules: `${allowPath('/').replace('allow_private_ips: true', 'mode: intercept')}` },
      1,
      [/intercept/],
    ],
    [
      'a CA key that is not there',
      { rules: allowPath('/'), args: ['--ca-cert', '/nonexistent/ca.crt', '--ca-key', '/nonexistent/ca.key'] },
      1,
      [/\/nonexistent\/ca/],
    ],
    [
      'an --upstream-ca without certificates',
      { rules: allowPath('/'), args: ['--upstream-ca', '/dev/null'] },
      1,
      [/--upstream-ca: cannot use \/dev\/null/],
    ],
    [
      'an address of another machine',
      { rules: allowPath('/'), args: ['--listen', '192.0.2.1:0'] },
      1,
      [/--listen: cannot listen on 192\.0\.2\.1:0: .*EADDRNOTAVAIL/],
    ],
  ])('does not start with %s', async (_, options, code, messages) => {
    await using daemon = await spawnDaemon(options);
    expect(await daemon.exited).toBe(code);
    const text = await logText(daemon);
    for (const message of messages) expect(text).toMatch(message);
    expect(daemon.records.count).toBe(0);
    expect(fs.existsSync(daemon.adminSocket)).toBe(false);
  });

  it('does not share a port in use, neither a stranger’s nor another outcalld’s', async () => {
    await using first = await startDaemon({ rules: allowPath('/') });
    await using second = await spawnDaemon({ rules: allowPath('/'), args: ['--listen', `127.0.0.1:${first.port}`] });
    expect(await second.exited).toBe(1);
    expect(await logText(second)).toContain(`cannot listen on 127.0.0.1:${first.port}: the port is in use`);
    const stranger = net.createServer().listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const { port } = stranger.address() as net.AddressInfo;
    await using third = await spawnDaemon({ rules: allowPath('/'), args: ['--listen', `127.0.0.1:${port}`] });
    expect(await third.exited).toBe(1);
    stranger.close();
  });

  it('leaves a living daemon’s admin socket alone', async () => {
    await using first = await startDaemon({ rules: allowPath('/') });
    await using second = await spawnDaemon({ rules: allowPath('/'), args: ['--admin-socket', first.adminSocket] });
    expect(await second.exited).toBe(1);
    expect(await logText(second)).toContain(`another outcalld already answers on ${first.adminSocket}`);
    expect((await first.status()).state).toBe('ready');
  });
});
