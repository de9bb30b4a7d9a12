/** Containers that already run, attached with the real command on the real engine, and detached again. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { AgentsAnswer } from '../../src/domain/admin-api.ts';
import { type Appliance, startAppliance, until } from './kit/appliance.ts';
import { Container, outcall, SLOW_MS, startWatch } from './kit/container.ts';
import { contactsAbout, ORIGIN, setZone } from './kit/internet.ts';
import { describeOnEngine, docker, LAB_RUN, tryDocker } from './kit/lab.ts';

/** The lab's internet remembers all that it saw: names of this run are of no other. */
const RUN = randomBytes(4).toString('hex');
const NAMED = `named-${RUN}.example`;
const WATCHED = `watched-${RUN}.example`;

const RULES = `version: "1"
rules:
  - id: reads
    condition: http.host == "read.example" && http.method == "GET"
    action: allow
    egress: { mode: intercept }
  - id: by-name
    condition: http.host == "${NAMED}" && agent.name == "attach-named" && agent.labels["team"] == "a"
    action: allow
`;

/** What is blocked may never be answered; an open way answers in far less. */
const BLOCKED_SECONDS = 3;

/** A name that no rule allows. */
function elsewhere(name: string): string {
  return `${name}-${RUN}.elsewhere.example`;
}

const JAVA_GET =
  'class Get { public static void main(String[] a) throws Exception { new java.net.URL(a[0]).openStream().transferTo(System.out); } }';

/** Each with how a program of it fetches https://read.example/PATH, where attach alone makes it trust the CA. */
const IMAGES: readonly (readonly [
  string,
  string,
  readonly string[],
  ((path: string) => readonly string[]) | undefined,
])[] = [
  ['debian', 'debian:bookworm-slim', [], undefined],
  ['node', 'node:24-bookworm-slim', [], undefined],
  ['curl', 'outcall-agent', [], (path) => ['curl', '--silent', `https://read.example${path}`]],
  [
    'python',
    'outcall-agent',
    ['--user', '1000', '--cap-drop', 'NET_RAW'],
    (path) => [
      'python3',
      '-c',
      `import urllib.request as u; print(u.urlopen("https://read.example${path}").read().decode())`,
    ],
  ],
  [
    'java',
    'outcall-java',
    [],
    (path) => ['bash', '-c', `echo '${JAVA_GET}' > /tmp/Get.java && java /tmp/Get.java https://read.example${path}`],
  ],
  ['readonly', 'outcall-agent', ['--read-only'], undefined],
];

vi.setConfig({ testTimeout: 3 * SLOW_MS });

describeOnEngine('outcall attach', () => {
  let appliance: Appliance;

  beforeAll(async () => {
    const names = ['read.example', NAMED, WATCHED, ...IMAGES.map(([name]) => elsewhere(name))];
    await setZone(Object.fromEntries(names.map((name) => [name, ORIGIN])));
    appliance = await startAppliance({ rules: RULES });
  });
  afterAll(() => appliance?.[Symbol.asyncDispose]());

  // Together, since most of their time is spent waiting for the engine.
  it.concurrent.each(IMAGES)(
    'locks a %s container that runs, over a restart too, and detach lets it out again',
    async (name, image, args, fetch) => {
      const host = elsewhere(name);
      await using container = await Container.start(`attach-${name}`, image, ...args);
      const before = await container.exec(['cat', '/etc/resolv.conf']);
      await container.get(host, '/before');
      const attached = await outcall('attach', container.name);
      expect(attached, attached.stderr).toMatchObject({ code: 0 });
      expect(await container.networks()).toEqual(['outcall']);
      await container.get(host, '/attached', BLOCKED_SECONDS);
      if (fetch !== undefined) {
        const fetched = await container.exec(fetch('/inside'));
        expect(fetched.stdout, fetched.stderr).toContain('GET /inside');
      }
      await docker(['restart', '--time', '0', container.name]);
      await container.get(host, '/restarted', BLOCKED_SECONDS);
      const again = await outcall('attach', container.name);
      expect(again, again.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('still locked') });
      await container.get(host, '/again', BLOCKED_SECONDS);
      const detached = await outcall('detach', container.name);
      expect(detached, detached.stderr).toMatchObject({ code: 0 });
      expect(await container.networks()).toEqual(['bridge']);
      expect((await container.exec(['cat', '/etc/resolv.conf'])).stdout).toBe(before.stdout);
      expect((await container.exec(['ls', '/etc/outcall'])).code).not.toBe(0);
      await container.get(host, '/detached');
      const requests = (await contactsAbout(host)).filter((contact) => contact.startsWith('request'));
      expect(requests).toEqual([`request GET http://${host}/before`, `request GET http://${host}/detached`]);
    },
  );

  it('--recreate gives a read-only Node container trust by variables, and detach brings back the one that was', async () => {
    await using container = await Container.start('attach-anew', 'outcall-agent', '--read-only', '--env', 'MINE=1');
    const script =
      'fetch("https://read.example/anew").then((r) => r.text()).then(console.log, (e) => console.log(e.cause.code))';
    const recreated = await outcall('attach', '--recreate', container.name);
    expect(recreated, recreated.stderr).toMatchObject({ code: 0 });
    expect((await container.exec(['node', '-e', script])).stdout).toContain('GET /anew');
    expect((await container.exec(['printenv', 'MINE'])).stdout).toBe('1\n');
    await docker(['restart', '--time', '0', container.name]);
    expect((await container.exec(['node', '-e', script])).stdout).toContain('GET /anew');
    expect((await outcall('detach', container.name)).code).toBe(0);
    expect(await container.networks()).toEqual(['bridge']);
    expect((await container.exec(['printenv', 'NODE_EXTRA_CA_CERTS'])).code).not.toBe(0);
  });

  it('tells the daemon name and labels, by which rules decide', async () => {
    await using named = await Container.start('attach-named', 'outcall-agent', '--label', 'team=a');
    await using other = await Container.start('attach-other', 'outcall-agent', '--label', 'team=a');
    expect((await outcall('attach', named.name, other.name)).code).toBe(0);
    await named.get(NAMED, '/named');
    await other.get(NAMED, '/other', BLOCKED_SECONDS);
    expect(await contactsAbout(`http://${NAMED}`)).toEqual([`request GET http://${NAMED}/named`]);
    await outcall('detach', named.name);
    const { stdout } = await appliance.exec(['outcall', 'admin', 'GET', '/v1/agents']);
    expect((JSON.parse(stdout) as AgentsAnswer).agents.map(({ name }) => name)).toEqual(['attach-other']);
  });

  it.each([
    [['--privileged'], 'privileged'],
    [['--cap-add', 'NET_ADMIN'], 'capability NET_ADMIN'],
    [['--network', 'host'], 'network_mode: host'],
    [['--pid', 'host'], 'pid: host'],
    [['--volume', `${join(LAB_RUN, 'docker.sock')}:/var/run/docker.sock`], 'the engine’s socket'],
    [['--volume', '/:/host:ro'], 'the host’s /'],
    [['--device', '/dev/null:/dev/sda'], 'device /dev/null'],
  ])('refuses a container with %j, says why and leaves it alone', async (args, words) => {
    await using container = await Container.start('attach-refused', 'debian:bookworm-slim', ...args);
    const networks = await container.networks();
    const refused = await outcall('attach', container.name);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(words);
    expect(refused.stderr).toContain('->');
    expect(await container.networks()).toEqual(networks);
  });

  it('leaves everything as it was where the appliance does not answer, and locks when it does', async () => {
    await using container = await Container.start('attach-undone', 'outcall-agent');
    const before = await container.exec([
      'bash',
      '-c',
      'cat /etc/resolv.conf; sha256sum /etc/ssl/certs/ca-certificates.crt',
    ]);
    const refuse = ['table inet refuse { chain input { type filter hook input priority -300; udp dport 53 drop; }; }'];
    const nft = (text: string) => tryDocker(['exec', '-i', 'outcall-appliance-1', 'nft', '-f', '-'], { input: text });
    expect(await nft(refuse.join('\n'))).toMatchObject({ code: 0 });
    const undone = await outcall('attach', container.name);
    expect(undone.code).toBe(1);
    expect(undone.stderr).toContain('the appliance answers for names');
    expect(await container.networks()).toEqual(['bridge']);
    const after = await container.exec([
      'bash',
      '-c',
      'cat /etc/resolv.conf; sha256sum /etc/ssl/certs/ca-certificates.crt',
    ]);
    expect(after.stdout).toBe(before.stdout);
    await nft('delete table inet refuse');
    const attached = await outcall('attach', container.name);
    expect(attached, attached.stderr).toMatchObject({ code: 0 });
  });

  it('outcall watch attaches again what starts again and takes it off networks that it joined', async () => {
    await using container = await Container.start('attach-watched', 'outcall-agent');
    expect((await outcall('attach', container.name)).code).toBe(0);
    const watch = startWatch();
    try {
      await docker(['restart', '--time', '0', container.name]);
      const pointsToUs = async () => (await container.exec(['cat', '/etc/resolv.conf'])).stdout.includes('10.203.0.2');
      await until('names are asked of the appliance again', pointsToUs);
      await docker(['network', 'connect', 'bridge', container.name]);
      await until('it left the bridge', async () => (await container.networks()).join() === 'outcall');
      await container.get(WATCHED, '/watched', BLOCKED_SECONDS);
      expect(await contactsAbout(`http://${WATCHED}`)).toEqual([]);
      watch.kill('SIGTERM');
      await until('watch ends when it is told to', async () => watch.exitCode === 0);
    } finally {
      watch.kill('SIGKILL');
    }
    const listed = await outcall('ps');
    expect(listed.stdout).toMatch(/^attach-watched +outcall-agent +10\.203\.\d+\.\d+ +locked /m);
  });

  it('outcall doctor finds nothing broken, and which runtimes trust the CA', async () => {
    await using container = await Container.start('attach-doctor', 'outcall-agent');
    expect((await outcall('attach', container.name)).code).toBe(0);
    const { code, stdout } = await outcall('doctor');
    expect(code, stdout).toBe(0);
    expect(stdout).toMatch(/ ok {3}agent attach-doctor: trust the CA: .*openssl.*curl.*git.*python/);
    expect(stdout).toMatch(/warn {2}agent attach-doctor: node does not trust the CA\n +-> .*NODE_EXTRA_CA_CERTS/);
    await docker(['network', 'connect', 'bridge', container.name]);
    const broken = await outcall('doctor');
    expect(broken.code).toBe(1);
    expect(broken.stdout).toMatch(
      /FAIL {2}agent attach-doctor: also on network bridge\n +-> outcall attach attach-doctor/,
    );
  });
});
