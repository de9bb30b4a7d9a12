import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { type GrantRequest, Grants } from '../../../src/netfilter/grants.ts';
import { MAX_GRANTS } from '../../../src/netfilter/ruleset.ts';
import { TestClock } from '../../kit/clock.ts';
import { FakeKernel } from './fake-kernel.ts';
import { ip } from './plans.ts';

const GIT: GrantRequest = { host: 'git.test' as Host, address: '10.203.128.9', ports: [22], agentIp: '10.203.0.11' };
const TEN_MINUTES_MS = 600_000;

function scene(): { grants: Grants; kernel: FakeKernel; clock: TestClock; errors: string[] } {
  const kernel = new FakeKernel();
  const clock = new TestClock();
  const errors: string[] = [];
  const log = { error: (_fields: object, message: string) => void errors.push(message) };
  return { grants: new Grants({ apply: (text) => kernel.apply(text), clock, log }), kernel, clock, errors };
}

describe('grants', () => {
  it('are in the kernel when they are given, for each port that needs one', async () => {
    const { grants, kernel } = scene();
    await grants.grant({ ...GIT, ports: [80, 443, 22, 9418] });
    expect([...kernel.grants]).toEqual(['10.203.128.9 . 22', '10.203.128.9 . 9418']);
    await grants.grant({ ...GIT, host: 'web.test' as Host, address: '10.203.128.1', ports: [443] });
    expect(kernel.applied).toHaveLength(1);
  });

  it('are written again only once half of their time is over', async () => {
    const { grants, kernel, clock } = scene();
    await grants.grant(GIT);
    clock.advance(TEN_MINUTES_MS / 2 - 10_000);
    await grants.grant(GIT);
    expect(kernel.applied).toHaveLength(1);
    clock.advance(10_000);
    await grants.grant(GIT);
    expect(kernel.applied).toHaveLength(2);
  });

  it('that are asked for together go to the kernel together', async () => {
    const { grants, kernel } = scene();
    const gate = Promise.withResolvers<void>();
    kernel.hold = gate.promise;
    const hosts = Array.from({ length: 20 }, (_, i) => ({ ...GIT, address: `10.203.128.${i + 1}` }));
    const first = grants.grant(GIT);
    await Promise.resolve();
    const given = hosts.map((request) => grants.grant(request));
    gate.resolve();
    await Promise.all([first, ...given]);
    expect(kernel.applied.length).toBeLessThanOrEqual(2);
    expect(kernel.grants.size).toBe(20);
  });

  it('are taken away when no agent that holds one may have it, and stay while one may', async () => {
    const { grants, kernel } = scene();
    await grants.grant(GIT);
    await grants.grant({ ...GIT, agentIp: '10.203.0.12' });
    await grants.retain((_host, _port, agentIp) => agentIp === '10.203.0.12');
    expect(kernel.grants.size).toBe(1);
    expect(grants.list([])[0]?.agents).toEqual(['10.203.0.12']);
    await grants.retain(() => false);
    expect(kernel.grants.size).toBe(0);
    expect(grants.elements).toEqual([]);
  });

  it('end when their address stands for another name', async () => {
    const { grants, kernel } = scene();
    await grants.grant({ ...GIT, ports: [22, 9418] });
    await grants.grant({ ...GIT, address: '10.203.128.10' });
    await grants.forget(GIT.address);
    expect([...kernel.grants]).toEqual(['10.203.128.10 . 22']);
  });

  it('are forgotten once they ended in the kernel, and what nobody gave is told', async () => {
    const { grants } = scene();
    await grants.grant(GIT);
    const [own, other] = [ip('10.203.128.9'), ip('10.203.128.99')];
    const found = [own, other].map((address) => ({ address, port: 22, expiresSecs: 5 }));
    expect(grants.settle(found)).toEqual([found[1]]);
    expect(grants.list(found)).toMatchObject([{ host: 'git.test', address: '10.203.128.9', port: 22, expiresSecs: 5 }]);
    expect(grants.settle([])).toEqual([]);
    expect(grants.elements).toEqual([]);
  });

  it('that the kernel does not take are told in the log, and given at the next asking', async () => {
    const { grants, kernel, errors } = scene();
    kernel.failWith = 'nft failed';
    await grants.grant(GIT);
    expect(errors).toEqual(['nft failed']);
    kernel.failWith = undefined;
    await grants.grant(GIT);
    expect(kernel.grants.size).toBe(1);
  });

  it('that could not be taken away are not ours any more, so that they are found as nobody’s', async () => {
    const { grants, kernel } = scene();
    await grants.grant(GIT);
    kernel.failWith = 'nft failed';
    await grants.retain(() => false);
    expect(grants.settle([{ address: ip(GIT.address), port: 22, expiresSecs: 9 }])).toHaveLength(1);
  });

  it('are bounded', async () => {
    const { grants, kernel, errors } = scene();
    const all = Array.from({ length: MAX_GRANTS + 1 }, (_, i) => i + 1_000);
    await grants.grant({ ...GIT, ports: all });
    expect(kernel.grants.size).toBe(MAX_GRANTS);
    expect(errors).toEqual(['no more ports can be granted to names']);
    await grants.retain((_host, port) => port < 2_000);
    await grants.grant({ ...GIT, ports: [22] });
    expect(kernel.grants.has('10.203.128.9 . 22')).toBe(true);
  });
});
