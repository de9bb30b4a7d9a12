/**
 * Is this container locked? Asked from inside its own network namespace, by our own program; answered as named checks,
 * each of which must hold (threats rows 14, 15, 17, 21, 23, 26).
 */

import { Ipv4Range, parseIpv4 } from '../domain/ipv4-range.ts';
import type { Appliance } from './appliance.ts';
import { runBeside } from './beside.ts';
import type { Engine } from './engine.ts';
import { DockerFailure } from './failure.ts';
import type { ProbeFindings, ProbeRequest } from './probe.ts';
import { ENGINE_RESOLVER } from './resolv-conf.ts';

/** The default of outcalld --listen. */
const PROXY_PORT = 8080;

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found where it is not as it should be. */
  readonly found?: string;
  readonly remedy?: string;
}

/** All checks; the container runs and is on the appliance's network. Rejects with DockerFailure. */
export async function verify(engine: Engine, appliance: Appliance, containerId: string): Promise<readonly Check[]> {
  const request: ProbeRequest = {
    resolver: appliance.address,
    proxyPort: PROXY_PORT,
    gateway: appliance.network.gateway,
  };
  const command = ['outcall', 'probe', JSON.stringify(request)];
  const { code, out, err } = await runBeside(engine, { imageId: appliance.imageId, networkOf: containerId, command });
  if (code !== 0) throw new DockerFailure('engine', `looking around in the container failed: ${err.trim()}`);
  return judge(JSON.parse(out) as ProbeFindings, appliance);
}

/** Rejects with DockerFailure `unverified` unless all hold. */
export function insistOn(checks: readonly Check[]): void {
  const broken = checks.filter(({ ok }) => !ok);
  if (broken.length === 0) return;
  const words = broken.map(({ name, found }) => (found === undefined ? name : `${name}: ${found}`)).join('; ');
  const remedies = broken.map(({ remedy }) => remedy).filter((remedy) => remedy !== undefined);
  throw new DockerFailure('unverified', `it would not be locked: ${words}`, [...new Set(remedies)]);
}

export function judge(
  found: ProbeFindings,
  appliance: Pick<Appliance, 'address' | 'name' | 'network'>,
): readonly Check[] {
  // The engine's own resolver is no stranger where it asks us, as it does with dns: [the appliance].
  const ours = found.engineResolver === 'outcall' ? [appliance.address, ENGINE_RESOLVER] : [appliance.address];
  const strangers = found.nameservers.filter((server) => !ours.includes(server));
  const elsewhere = found.addresses.filter((address) => !isWithin(address, appliance.network.subnet));
  return [
    check('the appliance answers for names', found.resolver === 'outcall', `${found.resolver} answers`, [
      `see: docker logs ${appliance.name}, and whether outcalld has --dns-listen`,
    ]),
    check('no other resolver is set', strangers.length === 0, strangers.join(', ')),
    check('the engine’s own resolver gives no answers from outside', found.engineResolver !== 'another', 'it does', [
      'attach with --recreate, which makes it ask the appliance, or use Docker Engine 26 or newer',
    ]),
    check('there is no route out', found.defaultRoutes.length === 0, found.defaultRoutes.join(', ')),
    check('all addresses are of the agents’ network', elsewhere.length === 0, elsewhere.join(', ')),
    check('the proxy answers', found.proxyAnswers, 'nobody does', [`see: docker logs ${appliance.name}`]),
    check('nothing else can be reached', found.reached.length === 0, found.reached.join(', ')),
  ];
}

function check(name: string, ok: boolean, found: string, [remedy]: readonly string[] = []): Check {
  if (ok) return { name, ok };
  return { name, ok, found, ...(remedy === undefined ? {} : { remedy }) };
}

function isWithin(cidr: string, subnet: string | undefined): boolean {
  const address = parseIpv4(cidr.split('/')[0] ?? '');
  const range = Ipv4Range.parse(subnet ?? '');
  return address !== undefined && range?.contains(address) === true;
}
