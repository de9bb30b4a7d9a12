import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StatusAnswer } from '../../src/domain/admin-api.ts';
import type { LogLine } from '../kit/daemon.ts';
import { allowHosts } from '../kit/rules.ts';
import { childNamed } from '../unit/daemon/processes.ts';
import { APPLIANCE, jailLacks, POOL } from './network.ts';
import { CAPABILITIES, Jail, SIGNER_UID, WORKER_UID } from './scene.ts';

const WEB = '198.18.0.10';
const OTHERS_TABLE = 'table ip others {\n\tchain postrouting {\n\t\tip daddr 198.18.0.77 accept\n\t}\n}\n';
/** Longer than the watch waits between two looks. */
const WATCH_MS = 10_000;
const lacking = jailLacks();

describe.skipIf(lacking !== undefined)('the watch over the lock', () => {
  let jail: Jail;

  beforeAll(async () => {
    jail = await Jail.start({ rules: allowHosts('web.test'), names: ['web.test'], zone: { 'web.test': WEB } });
  });

  afterAll(() => jail?.[Symbol.asyncDispose]());

  async function getWeb(address: string): Promise<unknown> {
    return jail.agent.does({ op: 'get', scheme: 'http', address, host: 'web.test' });
  }

  /** Makes a change, and resolves with the log's line on it once the lock is set again. */
  async function broken(change: () => void): Promise<LogLine> {
    const { log } = jail.daemon;
    const before = log.count;
    const after = (event: string) =>
      log.some((line) => line['event'] === event && log.all.lastIndexOf(line) >= before, WATCH_MS);
    change();
    const line = await after('lock_broken');
    await after('lock_set');
    return line;
  }

  async function status(): Promise<StatusAnswer> {
    return jail.daemon.status();
  }

  it('says that the table is gone, sets it again, and is healthy when a later look finds it whole', async () => {
    expect(await status()).toMatchObject({ state: 'ready', lock: 'intact' });
    const line = await broken(() => jail.network.nft('appliance', `${OTHERS_TABLE}delete table inet outcall\n`));
    expect(line).toMatchObject({ problems: ['the table is gone'] });
    expect(await status()).toMatchObject({ state: 'unlocked', lock: 'broken' });
    await jail.daemon.log.some((each) => each['event'] === 'lock_restored', WATCH_MS);
    expect(await status()).toMatchObject({ state: 'ready', lock: 'intact' });
    expect(jail.network.run('appliance', 'nft', 'list', 'table', 'ip', 'others')).toBe(OTHERS_TABLE);
  });

  it.each([
    ['a rule that was added', 'insert rule inet outcall input accept', 'added: input: accept'],
    [
      'a policy that was changed',
      'chain inet outcall forward { policy accept; }',
      'missing: chain forward: filter forward 0 policy drop',
    ],
    ['rules that were taken away', 'flush chain inet outcall agents0', 'missing: agents0: drop'],
    [
      'a grant that nobody gave',
      `add element inet outcall direct { 10.203.128.9 . 22 }`,
      'granted by nobody: 10.203.128.9 port 22',
    ],
    ['a chain that was added', 'add chain inet outcall more', 'added: chain more'],
  ])('finds %s, and sets the lock again', async (_what, change, problem) => {
    const line = await broken(() => jail.network.nft('appliance', change));
    expect(line).toMatchObject({ problems: expect.arrayContaining([problem]) });
    expect(jail.network.run('appliance', 'nft', 'list', 'table', 'inet', 'outcall')).not.toMatch(
      /policy accept;\n\t\taccept|chain more|10\.203\.128\.9/,
    );
    expect(await getWeb(await jail.agent.addressOf('web.test'))).toMatchObject({ status: 200 });
  });

  it('finds that the appliance no longer answers for the pool', async () => {
    const address = await jail.agent.addressOf('web.test');
    const line = await broken(() => jail.network.run('appliance', 'ip', 'route', 'del', 'local', POOL, 'dev', 'lo'));
    expect(line).toMatchObject({ problems: [`no local route for ${POOL}`] });
    expect(await getWeb(address)).toMatchObject({ status: 200 });
  });

  it('hands workers and signer to users of their own, without a capability', () => {
    for (const [name, uid] of [
      ['worker-0', WORKER_UID],
      ['worker-1', WORKER_UID],
      ['signer', SIGNER_UID],
    ] as const) {
      const text = readFileSync(`/proc/${childNamed(jail.daemon, name)}/status`, 'utf8');
      const field = (key: string) => new RegExp(`^${key}:[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.trim().split(/\s+/) ?? [];
      expect([name, field('Uid'), field('Gid')]).toEqual([
        name,
        Array(4).fill(String(uid)),
        Array(4).fill(String(uid)),
      ]);
      expect([name, field('Groups').join('')]).toEqual([name, '']);
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
        expect([name, set, field(set)]).toEqual([name, set, ['0'.repeat(16)]]);
      expect(field('NoNewPrivs')).toEqual(['1']);
    }
  });

  it('leaves the CA key to the signer: the supervisor cannot read it', () => {
    const key = join(jail.daemon.caFolder, 'ca.key');
    const asSupervisor = (...command: readonly string[]) =>
      jail.network.run('appliance', 'setpriv', '--inh-caps=-all', `--bounding-set=${CAPABILITIES}`, '--', ...command);
    expect(() => asSupervisor('cat', key)).toThrow(/Permission denied/);
    expect(asSupervisor('cat', join(jail.daemon.caFolder, 'ca.crt'))).toContain('BEGIN CERTIFICATE');
  });

  it('stays closed when the daemon is killed, and opens to the same addresses when it is back', async () => {
    const address = await jail.agent.addressOf('web.test');
    await jail.killDaemon();
    jail.network.resetWitness();
    for (const wish of [
      { op: 'open', address, port: 443 },
      { op: 'open', address, port: 80 },
      { op: 'open', address: WEB, port: 80 },
      { op: 'open', address: APPLIANCE, port: 8080 },
      { op: 'udp', address: WEB, port: 9001 },
      { op: 'resolve', name: 'web.test', server: APPLIANCE },
    ] as const) {
      expect([wish, (await jail.agent.does(wish)).error]).toEqual([wish, expect.any(String)]);
    }
    expect(jail.network.packetsAtInet()).toEqual([]);
    await jail.startDaemon();
    expect(await jail.agent.addressOf('web.test')).toBe(address);
    expect(await getWeb(address)).toMatchObject({ status: 200 });
  });

  it.each([
    ['NET_ADMIN', '-all,+net_bind_service,+setuid,+setgid,+kill', 'the capability NET_ADMIN is missing'],
    ['SETUID', '-all,+net_admin,+net_bind_service,+setgid,+kill', 'add cap_add: [SETUID, SETGID, KILL]'],
  ])('refuses to start without %s, and says so', async (_name, capabilities, words) => {
    await jail.killDaemon();
    const daemon = jail.spawnDaemon({ capabilities, opener: false });
    expect(await daemon.exited).toBe(1);
    expect((await daemon.log.some(({ msg }) => msg.startsWith('outcalld: '))).msg).toContain(words);
  });
});
