import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { maySign } from '../../../src/domain/name-constraints.ts';
import { issueCa, issueLeaf, issuerOf, subjectKey } from '../../../src/pki/certificate.ts';
import { readNameConstraints } from '../../../src/pki/name-constraints.ts';
import { testCa } from '../../kit/pki.ts';
import { run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';

const NOW = Date.now();

describe('a CA that is made for some domains', () => {
  it.each([
    ['a.test', true],
    ['deep.a.test', true],
    ['b.example', true],
    ['xa.test', false],
    ['a.test.evil', false],
    ['192.0.2.1', false],
    ['2001:db8::1', false],
  ] as const)('signs for %s: %s, by our own reading and by OpenSSL’s', async (host, permitted) => {
    using folder = new TempFolder();
    const { pem, key } = await issueCa('ecdsa', NOW, ['a.test', 'b.example']);
    const certificate = new X509Certificate(pem);
    const constraints = readNameConstraints(certificate.raw);
    if (constraints === undefined || constraints === 'unsupported') throw new Error('no constraints were read');
    expect(maySign(constraints, host as Host)).toBe(permitted);
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const leaf = await issueLeaf(issuerOf(certificate, key), {
      host: host as Host,
      subjectKey: subjectKey(publicKey),
      ttlSecs: 3600,
      now: NOW,
    });
    const [caFile, leafFile] = [folder.write('ca.crt', pem), folder.write('leaf.crt', leaf.pem)];
    const { code, stderr } = await run('openssl', ['verify', '-x509_strict', '-CAfile', caFile, leafFile]);
    expect([code === 0, /(permitted|excluded) subtree violation/.test(stderr)]).toEqual([permitted, !permitted]);
  });

  it('says so in the certificate, critically; a CA without domains has no such bound', async () => {
    const { pem } = await issueCa('ecdsa', NOW, ['a.test', 'b.example']);
    expect(readNameConstraints(new X509Certificate(pem).raw)).toEqual({
      permitted: ['a.test', 'b.example'],
      excluded: [],
      addresses: false,
    });
    const { stdout } = await run('openssl', ['x509', '-noout', '-text'], { input: pem });
    expect(stdout).toContain('X509v3 Name Constraints: critical');
    expect(readNameConstraints(new X509Certificate((await issueCa('ecdsa', NOW)).pem).raw)).toBeUndefined();
    expect(readNameConstraints(new X509Certificate(testCa().certPem).raw)).toBeUndefined();
  });

  it.each([
    ['excluded;DNS:a.test', { permitted: undefined, excluded: ['a.test'], addresses: true }],
    [
      'permitted;DNS:.a.test,permitted;IP:10.0.0.0/255.0.0.0',
      { permitted: ['.a.test'], excluded: [], addresses: false },
    ],
    ['permitted;email:a.test', { permitted: undefined, excluded: [], addresses: true }],
    ['permitted;dirName:dn', 'unsupported'],
  ])('is read where another tool made it: %s', async (written, read) => {
    using folder = new TempFolder();
    const config = folder.write(
      'ca.cnf',
      `[req]\ndistinguished_name=dn\nx509_extensions=e\n[dn]\nCN=x\n[e]\nbasicConstraints=critical,CA:TRUE\nnameConstraints=critical,${written}\n`,
    );
    const made = await run('openssl', [
      ...['req', '-x509', '-config', config, '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', '/dev/null', '-subj', '/CN=x'],
    ]);
    expect(readNameConstraints(new X509Certificate(made.stdout).raw)).toEqual(read);
  });

  it('with a leading dot may sign below a name and not for it', () => {
    const constraints = { permitted: ['.a.test'], excluded: ['no.a.test'], addresses: true };
    const may = (host: string) => maySign(constraints, host as Host);
    expect(['a.test', 'x.a.test', 'no.a.test', 'x.no.a.test', '192.0.2.1'].map(may)).toEqual([
      false,
      true,
      false,
      false,
      true,
    ]);
  });
});
