/**
 * A daemon without a CA (S011-FR-022, SC-002): not one line of interception is loaded, in any of its processes, while it
 * serves. That its tunnels behave the same is in tunnel.test.ts and its neighbours, which run with and without a CA.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openHttps } from '../kit/agent.ts';
import { startDaemon } from '../kit/daemon.ts';
import { startOrigin } from '../kit/origin.ts';
import { testCa } from '../kit/pki.ts';
import { startResolver } from '../kit/resolver.ts';
import { allowHosts } from '../kit/rules.ts';
import { TempFolder } from '../kit/temp.ts';

/** Imported by each process of the daemon before anything else: writes down every module that is loaded. */
const hookInto = (log: string) => `
import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
registerHooks({
  load(url, context, next) {
    appendFileSync(${JSON.stringify(log)}, process.pid + ' ' + url + '\\n');
    return next(url, context);
  },
});
`;
const INTERCEPTION = /\/src\/proxy\/(intercept|h2-[a-z]+)\.ts$|\/src\/pki\/|\/node-forge\//;

/** Starts a daemon, sends one request through a tunnel, and gives what its processes had loaded by then. */
async function loadedBy(ca: boolean): Promise<readonly { readonly pid: string; readonly url: string }[]> {
  using folder = new TempFolder();
  const log = folder.write('loaded', '');
  const hook = folder.write('hook.mjs', hookInto(log));
  const originCa = testCa();
  await using origin = await startOrigin({ tls: { ca: originCa, names: ['api.test'] } });
  await using resolver = await startResolver({ 'api.test': '127.0.0.1' });
  await using daemon = await startDaemon({
    rules: allowHosts('api.test'),
    ca,
    dnsServers: [resolver.address],
    execArgv: ['--import', hook],
  });
  await using agent = await openHttps(daemon, `api.test:${origin.port}`, { ca: originCa.certPem });
  expect((await agent.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
  const lines = readFileSync(log, 'utf8').trim().split('\n');
  return lines.map((line) => ({ pid: line.slice(0, line.indexOf(' ')), url: line.slice(line.indexOf(' ') + 1) }));
}

describe('S011-FR-022: a daemon without a CA', () => {
  it('loads nothing of interception in any process, where one with a CA does', async () => {
    const without = await loadedBy(false);
    expect(without.some(({ url }) => url.endsWith('/src/proxy/tunnel.ts'))).toBe(true);
    expect(new Set(without.map(({ pid }) => pid)).size).toBe(2);
    expect(without.filter(({ url }) => INTERCEPTION.test(url))).toEqual([]);
    const withCa = await loadedBy(true);
    expect(withCa.some(({ url }) => url.endsWith('/src/proxy/intercept.ts'))).toBe(true);
    expect(withCa.some(({ url }) => url.includes('/src/pki/'))).toBe(true);
    expect(new Set(withCa.map(({ pid }) => pid)).size).toBe(3);
  });
});
