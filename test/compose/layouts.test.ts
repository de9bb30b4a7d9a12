/**
 * attach where certificates are kept as on Alpine and Fedora, with the tool of the distribution and without. The folders and
 * files are those distributions', made in a container of Debian's packages; the client is Debian's curl, told the file.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type Appliance, startAppliance } from './kit/appliance.ts';
import { Container, outcall, SLOW_MS } from './kit/container.ts';
import { ORIGIN, setZone } from './kit/internet.ts';
import { describeOnEngine } from './kit/lab.ts';

const RULES = `version: "1"
rules:
  - id: reads
    condition: http.host == "read.example" && http.method == "GET"
    action: allow
    egress: { mode: intercept }
`;
const ROOTS = '/etc/ssl/certs/ca-certificates.crt';
const FEDORA = '/etc/pki/ca-trust';
/** Fedora's makes its bundles of its anchors by p11-kit, which Debian builds for other folders. */
const UPDATE_CA_TRUST = `#!/bin/sh
cat /etc/roots.pem ${FEDORA}/source/anchors/* >${FEDORA}/extracted/pem/tls-ca-bundle.pem 2>/dev/null || true`;

vi.setConfig({ testTimeout: 3 * SLOW_MS });

describeOnEngine('attach', () => {
  let appliance: Appliance;

  beforeAll(async () => {
    await setZone({ 'read.example': ORIGIN });
    appliance = await startAppliance({ rules: RULES });
  });
  afterAll(() => appliance?.[Symbol.asyncDispose]());

  it.each([
    [
      'Alpine without its tool',
      `mv ${ROOTS} /etc/ssl/cert.pem; rm /usr/sbin/update-ca-certificates; touch /etc/alpine-release`,
      '/etc/ssl/cert.pem',
    ],
    [
      'Alpine with a link to the bundle',
      `ln -s certs/ca-certificates.crt /etc/ssl/cert.pem; touch /etc/alpine-release`,
      '/etc/ssl/cert.pem',
    ],
    [
      'Fedora with its tool',
      `mkdir -p ${FEDORA}/source/anchors ${FEDORA}/extracted/pem /etc/pki/tls/certs; mv ${ROOTS} /etc/roots.pem; printf '${UPDATE_CA_TRUST.replaceAll('\n', '\\n')}' >/usr/bin/update-ca-trust; chmod 755 /usr/bin/update-ca-trust; update-ca-trust; ln -s ${FEDORA}/extracted/pem/tls-ca-bundle.pem /etc/pki/tls/certs/ca-bundle.crt`,
      '/etc/pki/tls/certs/ca-bundle.crt',
    ],
  ])('trusts and stops to trust as on %s', async (_name, layout, bundle) => {
    await using container = await Container.start('layout', 'outcall-agent', '--user', 'root');
    const laid = await container.exec(['sh', '-ec', layout]);
    expect(laid, laid.stderr).toMatchObject({ code: 0 });
    const files = async () => (await container.exec(['sh', '-c', `sha256sum ${bundle}; ls -R /etc/pki 2>&1`])).stdout;
    const fetch = () =>
      container.exec(['curl', '--silent', '--max-time', '10', '--cacert', bundle, 'https://read.example/it']);
    const before = await files();
    const attached = await outcall('attach', container.name);
    expect(attached, attached.stderr).toMatchObject({ code: 0 });
    expect((await fetch()).stdout).toContain('GET /it');
    expect((await outcall('detach', container.name)).code).toBe(0);
    expect(await files()).toBe(before);
  });
});
