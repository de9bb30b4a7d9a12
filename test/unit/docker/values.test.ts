import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseAddress, inAgentsHalf } from '../../../src/docker/addresses.ts';
import { openness } from '../../../src/docker/appliance.ts';
import { holdsCertificate } from '../../../src/docker/certificate-text.ts';
import { apiVersionFor } from '../../../src/docker/engine.ts';
import { happeningOf } from '../../../src/docker/events.ts';
import { withBlock, withoutBlock } from '../../../src/docker/marked-block.ts';
import { answererOf, defaultRoutes4, defaultRoutes6 } from '../../../src/docker/probe.ts';
import { nameservers, resolvConfFor } from '../../../src/docker/resolv-conf.ts';
import { firstFile, packTar } from '../../../src/docker/tar.ts';
import { missingVariables, TRUST_VARIABLES } from '../../../src/docker/variables.ts';
import { judge } from '../../../src/docker/verify.ts';
import { testCa } from '../../kit/pki.ts';
import { TempFolder } from '../../kit/temp.ts';

const SUBNET = '10.203.0.0/16';
const RANGE = '10.203.64.0/18';

describe('addresses of agents', () => {
  const plan = { subnet: SUBNET, ipRange: RANGE, taken: new Set<string>() };

  it('are outside the engine’s range, the pool and the lowest of the network, and the same for the same name', () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        const address = chooseAddress(plan, name) as string;
        const [, , third = 0, fourth = 0] = address.split('.').map(Number);
        expect(third).toBeLessThan(64);
        expect(third * 256 + fourth).toBeGreaterThanOrEqual(16);
        expect(chooseAddress(plan, name)).toBe(address);
      }),
    );
  });

  it('go on to the next free one where one is taken, until none is left', () => {
    const small = { subnet: '10.0.0.0/25', ipRange: '10.0.0.32/27', taken: new Set<string>() };
    for (let i = 16; i < 32; i++) small.taken.add(chooseAddress(small, 'web') as string);
    expect([...small.taken].sort()).toEqual(Array.from({ length: 16 }, (_, i) => `10.0.0.${i + 16}`).sort());
    expect(chooseAddress(small, 'web')).toBeUndefined();
  });

  it('use the whole lower half where the engine’s range is elsewhere, and none of a network that is too small', () => {
    expect(inAgentsHalf(chooseAddress({ ...plan, ipRange: undefined }, 'web') as string, SUBNET)).toBe(true);
    expect(chooseAddress({ ...plan, subnet: '10.0.0.0/27' }, 'web')).toBeUndefined();
    expect(inAgentsHalf('10.203.127.255', SUBNET)).toBe(true);
    expect(inAgentsHalf('10.203.128.0', SUBNET)).toBe(false);
    expect(inAgentsHalf('', SUBNET)).toBe(false);
  });
});

describe('the API version', () => {
  it.each([
    ['1.41', '1.12', '1.41'], // 20.10
    ['1.45', '1.24', '1.45'], // 26
    ['1.51', '1.24', '1.45'], // 28
    ['1.52', '1.44', '1.45'], // 29
    ['1.60', '1.48', '1.48'],
    ['1.40', '1.12', undefined], // 19.03
  ])('with an engine that speaks up to %s and from %s is %s', (newest, oldest, spoken) => {
    expect(apiVersionFor(newest, oldest)).toBe(spoken);
  });
});

describe('the network of agents', () => {
  const closed = {
    id: 'x',
    name: 'outcall',
    driver: 'bridge',
    internal: true,
    ipv6: false,
    labels: {},
    subnet: SUBNET,
    ipRange: RANGE,
    gateway: undefined,
    options: { 'com.docker.network.bridge.inhibit_ipv4': 'true' },
  };

  it('is closed when it is an internal bridge without the host and without IPv6, and open when one of these is not so', () => {
    expect(openness(closed)).toBeUndefined();
    expect(
      openness({ ...closed, options: { 'com.docker.network.bridge.gateway_mode_ipv4': 'isolated' } }),
    ).toBeUndefined();
    expect(openness({ ...closed, internal: false })).toMatch(/not internal/);
    expect(openness({ ...closed, options: {} })).toMatch(/the host has an address/);
    expect(openness({ ...closed, ipv6: true })).toMatch(/IPv6/);
    expect(openness({ ...closed, driver: 'macvlan' })).toMatch(/macvlan/);
  });
});

describe('our lines in a file of somebody else’s', () => {
  it('come out again and leave it as it was, and replace older ones of ours', () => {
    const file = fc
      .array(fc.string().filter((line) => !/[\n\r]|outcall attach/.test(line)))
      .map((lines) => lines.map((l) => `${l}\n`).join(''));
    fc.assert(
      fc.property(file, fc.constantFrom('#', ';'), (text, comment) => {
        const once = withBlock(text, 'a\nb', comment);
        expect(once).toContain('\na\nb\n');
        expect(withBlock(once, 'a\nb', comment)).toBe(once);
        expect(withBlock(once, 'c', comment)).not.toContain('\na\nb\n');
        expect(withoutBlock(once)).toBe(text);
      }),
    );
  });
});

describe('a certificate in a file', () => {
  it('is found however its lines are broken, and another is not', () => {
    const [ours, other] = [testCa('a').certPem, testCa('b').certPem];
    expect(holdsCertificate(`# roots\n${other}${ours.replaceAll('\n', '\r\n')}`, ours)).toBe(true);
    expect(holdsCertificate(`# roots\n${other}`, ours)).toBe(false);
    expect(holdsCertificate('', ours)).toBe(false);
  });
});

describe('tar', () => {
  it('is read by tar as it was packed, and what tar packed is read back', () => {
    using folder = new TempFolder();
    const file = { name: 'a.txt', content: Buffer.from('x'.repeat(700)), mode: 0o640, uid: 7, gid: 8 };
    const sub = { ...file, name: 'sub/', content: Buffer.alloc(0), mode: 0o755 };
    const archive = path.join(folder.path, 'a.tar');
    writeFileSync(archive, packTar([sub, file]));
    expect(execFileSync('tar', ['tvf', archive, '--numeric-owner'], { encoding: 'utf8' })).toMatch(
      /^drwxr-xr-x 7\/8 .* sub\/\n-rw-r----- 7\/8 +700 .* a\.txt\n$/,
    );
    expect(firstFile(packTar([sub, file]))).toEqual(file);
    folder.write('b.txt', 'hello');
    execFileSync('tar', ['cf', archive, '-C', folder.path, '--format=pax', 'b.txt']);
    const packed = execFileSync('cat', [archive]);
    expect(firstFile(packed)?.content.toString()).toBe('hello');
    for (let cut = 0; cut < 1_200; cut += 97) expect(() => firstFile(packed.subarray(0, cut))).not.toThrow();
  });
});

describe('resolv.conf', () => {
  it('of an agent names us alone, and servers are read as the C library reads them', () => {
    expect(nameservers(resolvConfFor('10.203.0.2'))).toEqual(['10.203.0.2']);
    expect(nameservers('# nameserver 1.1.1.1\n nameserver\t8.8.8.8 \nsearch x\nnameserver fe80::1%eth0')).toEqual([
      '8.8.8.8',
      'fe80::1%eth0',
    ]);
  });
});

describe('variables', () => {
  it('that a container has already are not missing, whatever they say', () => {
    expect(missingVariables([])).toEqual(TRUST_VARIABLES);
    const names = missingVariables(['SSL_CERT_FILE=/mine', 'PATH=/bin']).map(({ name }) => name);
    expect(names).not.toContain('SSL_CERT_FILE');
    expect(names).toHaveLength(TRUST_VARIABLES.length - 1);
  });
});

describe('what is seen from inside', () => {
  it('default routes of both families are found, and reject routes and others are not', () => {
    const head = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n';
    expect(defaultRoutes4(`${head}eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n`)).toEqual(['eth0']);
    expect(defaultRoutes4(`${head}eth0\t0000CB0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n`)).toEqual([]);
    const zero = '0'.repeat(32);
    expect(defaultRoutes6(`${zero} 00 ${zero} 00 fe80 00000400 00000001 00000000 00000003     eth0\n`)).toEqual([
      'eth0',
    ]);
    expect(defaultRoutes6(`${zero} 00 ${zero} 00 ${zero} ffffffff 00000001 00000000 00200200       lo\n`)).toEqual([]);
  });

  it('an answer with our SOA is ours, a refusal is nobody’s, and any other is somebody else’s', () => {
    const soa = Buffer.from('....\x07outcall\x00', 'latin1');
    expect([answererOf(soa, 3), answererOf(Buffer.from('x'), 3), answererOf(Buffer.from('x'), 0)]).toEqual([
      'outcall',
      'another',
      'another',
    ]);
    expect([answererOf(Buffer.from('x'), 2), answererOf(Buffer.from('x'), 5)]).toEqual(['refusal', 'refusal']);
  });

  it('the engine’s own resolver is no stranger where it asks us, and is one where it does not', () => {
    const found = {
      resolver: 'outcall',
      engineResolver: 'outcall',
      nameservers: ['127.0.0.11'],
      defaultRoutes: [],
      addresses: ['10.203.0.9/16'],
      proxyAnswers: true,
      reached: [],
    } as const;
    const appliance = { address: '10.203.0.2', name: 'appliance', network: { subnet: SUBNET } } as Parameters<
      typeof judge
    >[1];
    expect(judge(found, appliance).every(({ ok }) => ok)).toBe(true);
    expect(judge({ ...found, engineResolver: 'refusal' }, appliance).filter(({ ok }) => !ok)).toMatchObject([
      { name: 'no other resolver is set', found: '127.0.0.11' },
    ]);
  });
});

describe('events of the engine', () => {
  const event = (Type: string, Action: string, Attributes = {}) =>
    happeningOf({ Type, Action, Actor: { ID: 'c1', Attributes } });

  it('that change an agent are about it, and our own helpers’ are about nobody', () => {
    expect(event('container', 'start')).toEqual({ kind: 'container', id: 'c1' });
    expect(event('network', 'connect', { container: 'c2' })).toEqual({ kind: 'container', id: 'c2' });
    expect(event('container', 'exec_start: sh')).toBeUndefined();
    expect(event('network', 'create')).toBeUndefined();
    expect(event('container', 'start', { 'outcall.role': 'helper' })).toBeUndefined();
  });

  it('of the appliance count when it is healthy again', () => {
    const role = { 'outcall.role': 'appliance' };
    expect(event('container', 'start', role)).toBeUndefined();
    expect(event('container', 'health_status: healthy', role)).toEqual({ kind: 'appliance' });
  });
});
