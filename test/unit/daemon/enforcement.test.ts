import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openHttps } from '../../kit/agent.ts';
import { startDaemon } from '../../kit/daemon.ts';
import { startOrigin } from '../../kit/origin.ts';
import { testCa } from '../../kit/pki.ts';
import { startResolver } from '../../kit/resolver.ts';
import { countingOrigin, getThrough } from './through-proxy.ts';

const RULES = `version: "1"
rules:
  - { id: no-get, condition: 'http.method == "GET" && http.path == "/no"', action: block }
`;

describe('a daemon in audit', () => {
  it('says so everywhere, by flag or environment, and blocks nothing; one that enforces does', async () => {
    await using origin = await countingOrigin();
    for (const [options, word] of [
      [{ args: ['--enforcement', 'audit'] }, 'audit'],
      [{ env: { OUTCALL_ENFORCEMENT: 'audit' } }, 'audit'],
      [{}, 'enforce'],
    ] as const) {
      await using daemon = await startDaemon({ rules: RULES, ...options });
      const inAudit = word === 'audit';
      const answer = await getThrough(daemon.port, `http://127.0.0.1:${origin.port}/no`);
      expect(answer.status).toBe(inAudit ? 200 : 403);
      expect(await daemon.records.next()).toMatchObject({
        ...{ verdict: inAudit ? 'allow' : 'block', would_block: inAudit ? 'no-get' : null, status: answer.status },
      });
      expect(await daemon.status()).toMatchObject({ enforcement: word, rules_in_audit: inAudit ? 1 : 0 });
      expect((await daemon.cli('status')).stdout.includes('AUDIT')).toBe(inAudit);
      const warned = daemon.log.all.filter(({ event }) => event === 'audit_mode');
      expect(warned.map(({ level, enforcement }) => [level, enforcement])).toEqual(inAudit ? [['warn', 'audit']] : []);
    }
    expect(origin.paths).toEqual(['/no', '/no']);
  });

  it('decrypts what nothing allows where unmatched says so: worker and signer are of one mind', async () => {
    const ca = testCa();
    await using origin = await startOrigin({ tls: { ca, names: ['any.test'] } });
    await using resolver = await startResolver({ 'any.test': '127.0.0.1' });
    const rules = 'version: "1"\ndefaults: { enforcement: audit, unmatched: intercept }\nrules: []\n';
    const dnsServers = [resolver.address];
    await using daemon = await startDaemon({ rules, ca: true, trust: ca.certPem, dnsServers });
    const caPem = readFileSync(path.join(daemon.caFolder, 'ca.crt'), 'utf8');
    await using agent = await openHttps(daemon, `any.test:${origin.port}`, { ca: caPem });
    const request = { method: 'PUT', target: '/v1/x', headers: [`Host: any.test:${origin.port}`], body: 'x' };
    expect((await agent.request(request)).status).toBe(200);
    expect(await daemon.records.next(({ event }) => event === 'request')).toMatchObject({
      ...{ verdict: 'allow', would_block: 'default', taken: 'intercept', method: 'PUT', path: '/v1/x' },
    });
    expect((await daemon.status()).enforcement).toBe('audit');
  });
});
