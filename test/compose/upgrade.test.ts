/**
 * A running appliance of an older image is replaced by `docker compose up -d` (threats row 40): rules, CA and attached agents
 * are what they were, nobody attaches or watches anything, and nothing slips meanwhile.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { AgentsAnswer, RulesAnswer } from '../../src/domain/admin-api.ts';
import { type Appliance, startAppliance } from './kit/appliance.ts';
import { Container, outcall, SLOW_MS } from './kit/container.ts';
import { contactsAbout, ORIGIN, setZone } from './kit/internet.ts';
import { describeOnEngine, docker, tryDocker } from './kit/lab.ts';

const OLDER = 'outcall:older';
const RUN = randomBytes(4).toString('hex');
const NAMED = `named-${RUN}.example`;
const DENIED = `denied-${RUN}.example`;
const RULES = `version: "1"
rules:
  - id: by-name
    condition: http.host == "${NAMED}" && agent.name == "upgrade-known" && agent.labels["team"] == "a"
    action: allow
    egress: { mode: intercept }
`;

vi.setConfig({ testTimeout: 3 * SLOW_MS });

describeOnEngine('an upgrade', () => {
  let older: Appliance;

  beforeAll(async () => {
    await setZone({ [NAMED]: ORIGIN, [DENIED]: ORIGIN });
    const container = await docker(['create', 'outcall']);
    await docker(['commit', '--change', 'LABEL outcall.test=older', container, OLDER]);
    await docker(['rm', container]);
    older = await startAppliance({ rules: RULES, image: OLDER });
  });
  afterAll(async () => {
    await older?.remove();
    await tryDocker(['image', 'rm', OLDER]);
  });

  it('keeps rules, CA and agents: who they are, what they may and whom they trust', async () => {
    await using known = await Container.start('upgrade-known', 'outcall-agent', '--label', 'team=a');
    await using other = await Container.start('upgrade-other', 'outcall-agent', '--label', 'team=a');
    const attached = await outcall('attach', known.name, other.name);
    expect(attached, attached.stderr).toMatchObject({ code: 0 });
    const state = async () => {
      const asked = ['/v1/rules', '/v1/ca/bundle', '/v1/agents'].map((path) =>
        older.exec(['outcall', 'admin', 'GET', path]),
      );
      const [rules, ca, agents] = (await Promise.all(asked)).map(({ stdout }) => stdout);
      const { agents: known } = JSON.parse(agents ?? '') as AgentsAnswer;
      return { rules: (JSON.parse(rules ?? '') as RulesAnswer).rules, ca, agents: known };
    };
    const imageOf = () => docker(['inspect', '-f', '{{.Image}}', 'outcall-appliance-1']);
    const [before, image] = [await state(), await imageOf()];
    expect(before.agents).toHaveLength(2);
    const fetch = (path: string) => known.exec(['curl', '--silent', '--max-time', '10', `https://${NAMED}${path}`]);
    expect((await fetch('/before')).stdout).toContain('GET /before');

    let upgrading = true;
    const trying = (async () => {
      while (upgrading) await Promise.all([known.get(DENIED, '/slip'), other.get(NAMED, '/slip')]);
    })();
    await older.replaceBy({});
    upgrading = false;
    await trying;

    expect(await imageOf()).not.toBe(image);
    expect(await state()).toEqual(before);
    expect((await fetch('/after')).stdout).toContain('GET /after');
    await other.get(NAMED, '/other');
    const requests = (await contactsAbout(NAMED)).filter((contact) => contact.startsWith('request'));
    expect(requests).toEqual([`request GET https://${NAMED}/before`, `request GET https://${NAMED}/after`]);
    expect(await contactsAbout(DENIED)).toEqual([]);
  });
});
