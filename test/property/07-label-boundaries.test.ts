/**
 * Property 7: a rule for a domain is for that name and the names below it, and for none that merely ends in its letters.
 * Asserted at the resolver and the origin, to which every name leads.
 */
import { describe, expect, it } from 'vitest';
import { NOTHING_WENT_OUT, startScene, untouched } from '../flow/scene.ts';
import { connectTunnel } from '../kit/agent.ts';
import { rulesFile } from '../kit/rules.ts';

/** Found by its host, and among the rules for any host: the boundary is kept in both ways of looking. */
const CONDITIONS = ['domain(http.host, "api.test")', 'domain(http.host, "api.test") || agent.name == "nobody"'];
const WITHIN = ['api.test', 'API.TEST', 'api.test.', 'x.api.test', 'y.x.api.test'];
const OUTSIDE = ['evilapi.test', 'evil-api.test', 'api.test.evil.test', 'test', 'xapi.test', 'api.testing'];

describe('a host', () => {
  it.each(CONDITIONS)(
    'that ends in the letters of an allowed domain is none of its names, and nothing is asked or dialled: %s',
    async (condition) => {
      const zone = Object.fromEntries([...WITHIN, ...OUTSIDE].map((name) => [name, '127.0.0.1']));
      await using scene = await startScene({
        rules: rulesFile(`{ id: domain, condition: '${condition}', action: allow }`),
        zone,
      });
      for (const host of OUTSIDE) {
        await using tunnel = await connectTunnel(scene.proxy, `${host}:${scene.origin.port}`);
        expect([host, tunnel.reply.status]).toEqual([host, 403]);
      }
      expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
      for (const host of WITHIN) {
        await using tunnel = await connectTunnel(scene.proxy, `${host}:${scene.origin.port}`);
        expect([host, tunnel.reply.status]).toEqual([host, 200]);
      }
    },
  );
});
