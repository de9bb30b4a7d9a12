/**
 * Faults while an agent hammers what is allowed and what is not: processes of the appliance killed, the appliance and the
 * engine restarted, no CA, no resolver (threats rows 36, 40). At no moment does anything reach the internet that no rule
 * allows, and what is allowed comes back by itself; how soon is printed.
 */
import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Agent } from './kit/agent.ts';
import { type Appliance, startAppliance, until } from './kit/appliance.ts';
import { startAttacker } from './kit/attacker.ts';
import { contacts, ORIGIN, packets, setZone } from './kit/internet.ts';
import { describeOnEngine, docker, lab, ROOT, runIn } from './kit/lab.ts';

const RULES = `version: "1"
rules:
  - id: allowed
    condition: http.host == "allowed.example" && http.method == "GET" && http.path.startsWith("/hit/")
    action: allow
    egress: { mode: intercept }
`;
const APPLIANCE = 'outcall-appliance-1';
const OUTSIDE = `198.19.${randomInt(1, 255)}.${randomInt(1, 255)}`;
const RESOLVER = '198.51.100.53';
/** Two starts of everything on a busy machine. */
const BACK_MS = 120_000;
const HIT = 'http://allowed.example/hit/plain/';
const SECURE_HIT = 'https://allowed.example/hit/secure/';

describeOnEngine('while an agent hammers', () => {
  let appliance: Appliance;
  let agent: Agent;

  beforeAll(async () => {
    await setZone({ 'allowed.example': ORIGIN, 'denied.example': OUTSIDE, 'never.example': OUTSIDE });
    appliance = await startAppliance({ rules: RULES });
    agent = await startAttacker({
      args: ['--restart', 'always', '--volume', `${ROOT}/test:/test:ro`, '--volume', `${ROOT}/test/kit:/kit:ro`],
      command: ['python3', '/test/compose/kit/hammer.py', OUTSIDE],
    });
    await served();
  });
  afterAll(async () => {
    await agent?.[Symbol.asyncDispose]();
    await appliance?.[Symbol.asyncDispose]();
  });

  async function hits(): Promise<number> {
    const requests = (await contacts()).filter(({ kind }) => kind === 'request').map(({ what }) => what);
    const count = (url: string) => requests.filter((what) => what.startsWith(`GET ${url}`)).length;
    return Math.min(count(HIT), count(SECURE_HIT));
  }

  /** Resolves when what is allowed has arrived again, on both ports. */
  async function served(): Promise<void> {
    const before = await hits();
    await until('what is allowed to arrive', async () => (await hits()) > before + 1, BACK_MS);
  }

  /** What came to the internet that no rule allows, since the first try. */
  async function slipped(): Promise<readonly unknown[]> {
    const allowed = (what: string) => what.startsWith(`GET ${HIT}`) || what.startsWith(`GET ${SECURE_HIT}`);
    const seen = await contacts();
    const requests = seen.filter(({ kind, what }) => kind === 'request' && !allowed(what));
    const queries = seen.filter(({ kind, what }) => kind === 'query' && !what.startsWith('allowed.example '));
    const known = (to: string, port: number | undefined) =>
      (to === ORIGIN && (port === 80 || port === 443)) || (to === RESOLVER && port === 53);
    const strange = (await packets('inet')).filter(({ to, port }) => !known(to, port));
    return [...requests, ...queries, ...strange];
  }

  /** Makes the fault, waits until what is allowed is served again, and prints how long that took. */
  async function survives(fault: () => Promise<unknown>): Promise<void> {
    await fault();
    const started = performance.now();
    await served();
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(`served again ${seconds} s after: ${expect.getState().currentTestName}\n`);
    expect(await slipped()).toEqual([]);
  }

  /** Process ids, as this machine counts them, of what runs in the appliance under these words. */
  async function pidsOf(words: string): Promise<readonly number[]> {
    const listed = await docker(['top', APPLIANCE, '-eo', 'pid,args']);
    const lines = listed.split('\n').filter((line) => line.includes(words));
    return lines.map((line) => Number.parseInt(line, 10));
  }

  async function crash(words: string): Promise<void> {
    const [pid] = await pidsOf(words);
    if (pid === undefined) throw new Error(`no process of the appliance is called ${words}`);
    process.kill(pid, 'SIGKILL');
    await until(
      `the end of ${words}`,
      async () => !(await pidsOf(words).catch((): readonly number[] => [])).includes(pid),
    );
  }

  it('nothing slips and it is served again when a worker is killed', () => survives(() => crash('outcalld worker')));

  it('nothing slips and it is served again when the signer is killed', () => survives(() => crash('outcalld signer')));

  it('nothing slips and it is served again when the daemon is killed', async () => {
    const restarts = await appliance.restarts();
    await survives(async () => {
      process.kill(Number(await docker(['inspect', '-f', '{{.State.Pid}}', APPLIANCE])), 'SIGKILL');
      await until('the engine to start it again', async () => (await appliance.restarts()) > restarts);
    });
  });

  it('nothing slips and it is served again when the appliance is restarted', () =>
    survives(() => docker(['restart', '--time', '2', APPLIANCE])));

  it('nothing slips and it is served again when the engine is restarted', () =>
    survives(async () => {
      await lab('engine', ['stop'], BACK_MS);
      await lab('engine', ['start'], BACK_MS);
    }));

  it('nothing slips and it is served again when the engine is killed', () =>
    survives(async () => {
      await lab('engine', ['kill'], BACK_MS);
      await lab('engine', ['start'], BACK_MS);
    }));

  describe('and nothing is served', () => {
    /** Over this time nothing is allowed, and nothing arrives. */
    async function silentUntil(mended: () => Promise<unknown>, about: string): Promise<void> {
      await docker(['restart', '--time', '2', APPLIANCE]);
      const [before, since] = [await hits(), new Date().toISOString()];
      await until(about, async () => (await appliance.logs(since)).includes(about));
      expect(await hits()).toBeLessThanOrEqual(before + 1);
      await survives(mended);
    }

    it('without the CA that a rule asks for, until it is back', async () => {
      const move = (from: string, to: string) =>
        docker([
          'run',
          '--rm',
          '--user',
          'root',
          '--network',
          'none',
          '--volume',
          'outcall-ca:/ca',
          'outcall-agent',
          'mv',
          from,
          to,
        ]);
      await move('/ca/ca.key', '/ca/away.key');
      await silentUntil(() => move('/ca/away.key', '/ca/ca.key'), 'ca.key');
    });

    it('without a resolver that answers, until it does', async () => {
      const nft = async (text: string) => {
        const { code, stderr } = await runIn('inet', ['nft', '-f', '-'], { input: text });
        if (code !== 0) throw new Error(stderr);
      };
      await nft('table inet deaf { chain input { type filter hook input priority 0; th dport 53 drop; }; }');
      await silentUntil(() => nft('delete table inet deaf'), 'dns_timeout');
    });
  });
});
