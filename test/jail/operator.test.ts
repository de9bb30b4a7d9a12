import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { APPLIANCE, jailLacks, type Place, UPLINK } from './network.ts';
import { Jail } from './scene.ts';

const ADMIN_PORT = 9_901;
const METRICS_PORT = 9_464;
const PORTS = [ADMIN_PORT, METRICS_PORT];
const OWN = [APPLIANCE, UPLINK, '127.0.0.1', 'own.test', 'localhost'];
const RULES = rulesFile(
  `{ id: web, condition: 'http.host == "web.test"', action: allow }`,
  `{ id: own, condition: 'http.host in ${JSON.stringify(OWN)}', action: allow, egress: { allow_private_ips: true, mode: direct_ip, ports: [${PORTS.join(', ')}] } }`,
);
const ZONE = { 'web.test': '198.18.0.10', 'own.test': UPLINK, localhost: '127.0.0.1' };

const lacking = jailLacks();

describe.skipIf(lacking !== undefined)(
  `the operator’s ports in a locked network${lacking === undefined ? '' : ` (skipped: needs ${lacking})`}`,
  () => {
    let jail: Jail;

    beforeAll(async () => {
      const admin = ['--admin-listen', `127.0.0.1:${ADMIN_PORT}`, '--admin-token-file', '@token'];
      jail = await Jail.start({
        rules: RULES,
        names: ['web.test', 'own.test'],
        zone: ZONE,
        // The worst that an operator could have named.
        args: [
          ...admin,
          '--metrics-listen',
          `0.0.0.0:${METRICS_PORT}`,
          '--allow-private',
          `127.0.0.0/8,${APPLIANCE},${UPLINK},198.18.0.0/15`,
        ],
        files: { token: 'a1'.repeat(32) },
      });
    });
    afterAll(() => jail?.[Symbol.asyncDispose]());

    it('are out of reach of agents, directly and through every door, and the metrics are open to the outside', async () => {
      for (const port of PORTS) {
        for (const address of [APPLIANCE, UPLINK]) {
          const outcome = await jail.agent.does({ op: 'open', address, port });
          expect([address, port, outcome]).toEqual([address, port, { error: 'silence' }]);
        }
        for (const host of OWN) {
          const connect = await jail.agent.does({ op: 'connect', proxy: APPLIANCE, target: `${host}:${port}` });
          expect([host, port, connect]).toEqual([host, port, { status: 403 }]);
          const get = { op: 'get', scheme: 'http', address: APPLIANCE, port: 8080, host: `${host}:${port}` } as const;
          const absolute = await jail.agent.does({ ...get, path: `http://${host}:${port}/metrics` });
          expect([host, port, absolute.status]).toEqual([host, port, 403]);
        }
        // The name is granted the port, and the door takes the connection; what it leads to is not dialled.
        const address = await jail.agent.addressOf('own.test');
        const opened = await jail.agent.does({ op: 'open', address, port });
        expect(opened.text ?? '').toBe('');
        const door = await jail.daemon.records.some((record) => record.method === null && record.port === port);
        expect(door).toMatchObject({ host: 'own.test', reason: 'address_refused', upstream: null });
        expect(door.detail).toContain(`operator's port ${port}`);
      }
      expect(jail.daemon.records.all.filter(({ upstream }) => upstream !== null)).toEqual([]);
      expect(await get(jail, 'inet', `http://${UPLINK}:${METRICS_PORT}/metrics`)).toContain(
        'outcall_lock_state{state="intact"} 1',
      );
      expect(await get(jail, 'inet', `http://${UPLINK}:${ADMIN_PORT}/v1/health`)).toBe('');
      expect(await get(jail, 'appliance', `http://127.0.0.1:${ADMIN_PORT}/v1/health`)).toContain('"status":401');
    });
  },
);

/** What curl says there; empty where nobody answers. */
async function get(jail: Jail, place: Place, url: string): Promise<string> {
  const child = spawn('ip', [
    'netns',
    'exec',
    jail.network.nameOf(place),
    'curl',
    '-s',
    '--noproxy',
    '*',
    '--connect-timeout',
    '2',
    url,
  ]);
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  return text;
}
