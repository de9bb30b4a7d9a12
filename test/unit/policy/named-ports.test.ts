import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { AGENT, INTERCEPT, type RuleText, ruleSetOf } from './kit.ts';

const GIT: RuleText = { condition: 'http.host == "git.example"', egress: { mode: 'direct_ip', ports: [22, 9418] } };

function portsOf(rules: readonly RuleText[], host: string, agent = AGENT): readonly number[] {
  return [...ruleSetOf(...rules).namedPorts({ agent, host: host as Host })].sort((a, b) => a - b);
}

describe('the ports that rules name for a host', () => {
  it('are those of each allow rule that could match it, whatever its mode', () => {
    const tls: RuleText = { condition: 'domain(http.host, "example")', egress: { ports: [8443] } };
    expect(portsOf([GIT, tls], 'git.example')).toEqual([22, 8443, 9418]);
    expect(portsOf([GIT, tls], 'www.example')).toEqual([8443]);
    expect(portsOf([GIT, tls], 'elsewhere.test')).toEqual([]);
  });

  it('are none for a rule that names no ports', () => {
    expect(portsOf([{ condition: 'http.host == "git.example"' }], 'git.example')).toEqual([]);
  });

  it('are named by a rule whose request is not known yet', () => {
    const api = {
      condition: 'http.host == "api.example" && http.method == "GET"',
      egress: { ...INTERCEPT, ports: [8443] },
    };
    expect(portsOf([api], 'api.example')).toEqual([8443]);
  });

  it('are named by a rule for plain HTTP alone', () => {
    const plain = { condition: 'http.host == "api.example" && http.scheme == "http"', egress: { ports: [8000] } };
    expect(portsOf([plain], 'api.example')).toEqual([8000]);
  });

  it('are for the agents that the rule is about, and not for others', () => {
    const mine = { ...GIT, condition: 'http.host == "git.example" && agent.ip == "10.203.0.7"' };
    expect(portsOf([mine], 'git.example')).toEqual([22, 9418]);
    expect(portsOf([mine], 'git.example', { ...AGENT, ip: '10.203.0.8' })).toEqual([]);
  });

  it('are not named behind a block rule that matches, and are in front of it', () => {
    const block: RuleText = { condition: 'http.host == "git.example"', action: 'block' };
    expect(portsOf([block, GIT], 'git.example')).toEqual([]);
    expect(portsOf([GIT, block], 'git.example')).toEqual([22, 9418]);
  });

  it('are not named behind a block rule that cannot be evaluated', () => {
    const broken: RuleText = { condition: 'agent.labels["absent"] == "x"', action: 'block' };
    expect(portsOf([broken, GIT], 'git.example')).toEqual([]);
    expect(portsOf([{ ...broken, condition: 'agent.labels["team"] == "x"' }, GIT], 'git.example')).toEqual([22, 9418]);
  });
});
