/**
 * Minted leaves before real clients, each with its own verifier, each at its strictest. The twin of every success is the same
 * client that trusts another CA.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalHost, type Host } from '../../../src/domain/hostname.ts';
import { initCa } from '../../../src/pki/ca-files.ts';
import type { Leaf } from '../../../src/pki/leaf.ts';
import { Signer } from '../../../src/pki/signer.ts';
import { SignerClient } from '../../../src/pki/signer-client.ts';
import { testCa } from '../../kit/pki.ts';
import { hasProgram, type RunResult, run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';
import { MemoryPort } from './ports.ts';

const LONG_NAME = `${'a'.repeat(40)}.${'b'.repeat(40)}.example.test`;
const HOSTS = ['api.example.test', LONG_NAME, '127.0.0.1'];
const inCi = process.env['CI'] !== undefined;
const folder = new TempFolder();
const strangerFile = folder.write('stranger.crt', testCa('Stranger').certPem);

afterAll(() => folder[Symbol.dispose]());

describe.each(['rsa', 'ecdsa'] as const)('a leaf of an %s CA', (algorithm) => {
  let signer: Signer;
  let caFile: string;

  beforeAll(async () => {
    const { paths } = await initCa(`${folder.path}/${algorithm}`, { algorithm, force: false, now: Date.now() });
    caFile = paths.cert;
    const config = { certPath: paths.cert, keyPath: paths.key, leafTtlSecs: 60, mayMint: () => true };
    signer = await Signer.start(config, () => undefined);
  });
  afterAll(() => signer.stop());

  /** What the client does before a server with a leaf for `name`: first trusting our CA, then another one. */
  async function trusting(name: string, client: (port: number, trusted: string) => Promise<RunResult>) {
    await using server = await serve(await leafFor(signer, name));
    return { ours: await client(server.port, caFile), stranger: await client(server.port, strangerFile) };
  }

  describe.each(HOSTS)('for %s', (name) => {
    it.each(['-tls1_2', '-tls1_3'])('is verified by openssl s_client, strictly (%s)', async (version) => {
      const kind = name === '127.0.0.1' ? '-verify_ip' : '-verify_hostname';
      const { ours, stranger } = await trusting(name, (port, trusted) =>
        run('openssl', [
          ...['s_client', '-connect', `127.0.0.1:${port}`, version, '-x509_strict', '-verify_return_error', '-brief'],
          ...[
            '-no-CApath',
            '-no-CAstore',
            '-CAfile',
            trusted,
            kind,
            name,
            ...(kind === '-verify_ip' ? ['-noservername'] : ['-servername', name]),
          ],
        ]),
      );
      // Its exit code also tells how the connection ended, which is not the question here.
      expect(ours.stderr).toContain('Verification: OK');
      expect(stranger.stderr).toContain('unable to get local issuer certificate');
      expect(stranger.stderr).not.toContain('Verification: OK');
    });

    it('is verified by curl', async () => {
      const { ours, stranger } = await trusting(name, (port, trusted) =>
        run('curl', ['-sS', '--cacert', trusted, '--connect-to', `::127.0.0.1:${port}`, `https://${name}/`]),
      );
      expect(ours).toEqual({ code: 0, stdout: 'hello', stderr: '' });
      expect(stranger.code).toBe(60);
    });

    it('is verified by Python with VERIFY_X509_STRICT', async () => {
      const { ours, stranger } = await trusting(name, (port, trusted) =>
        run('python3', ['-c', PYTHON_CLIENT, String(port), name, trusted]),
      );
      expect(ours).toEqual({ code: 0, stdout: 'hello', stderr: '' });
      expect(stranger.stderr).toContain('CERTIFICATE_VERIFY_FAILED');
    });

    it('is verified by Node', async () => {
      const { ours, stranger } = await trusting(name, (port, trusted) =>
        run(process.execPath, ['-e', NODE_CLIENT, String(port), name, trusted]),
      );
      expect(ours).toEqual({ code: 0, stdout: 'hello', stderr: '' });
      expect(stranger.stderr).toContain('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    });
  });

  it.skipIf(!hasProgram('java') && !inCi)('is verified by Java', async () => {
    const source = folder.write('Client.java', JAVA_CLIENT);
    const { ours, stranger } = await trusting('api.example.test', (port, trusted) =>
      run('java', ['-XX:TieredStopAtLevel=1', source, String(port), 'api.example.test', trusted]),
    );
    expect(ours).toMatchObject({ code: 0, stdout: 'hello' });
    expect(stranger.stderr).toContain('unable to find valid certification path');
  });

  it('is refused by curl for any host but its own', async () => {
    await using server = await serve(await leafFor(signer, 'api.example.test'));
    const ask = (name: string) =>
      run('curl', ['-sS', '--cacert', caFile, '--connect-to', `::127.0.0.1:${server.port}`, `https://${name}/`]);
    expect((await ask('api.example.test')).code).toBe(0);
    for (const other of ['example.test', 'other.example.test', 'x.api.example.test']) {
      expect((await ask(other)).code).toBe(60);
    }
  });
});

/** As a worker asks: over a port of its own. */
async function leafFor(signer: Signer, name: string): Promise<Leaf> {
  const [ours, theirs] = MemoryPort.pair();
  signer.serve(theirs);
  return new SignerClient(ours).leafFor(canonicalHost(name) as Host);
}

async function serve(leaf: Leaf): Promise<AsyncDisposable & { port: number }> {
  const server = createServer({ key: leaf.keyPem, cert: leaf.chainPem, minVersion: 'TLSv1.2' }, (socket) => {
    // A client that refuses us resets; that is its verdict, not our fault.
    socket.on('error', () => undefined);
    socket.resume().end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const PYTHON_CLIENT = `
import socket, ssl, sys
port, name, trusted = sys.argv[1:]
context = ssl.create_default_context(cafile=trusted)
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(('127.0.0.1', int(port))) as raw:
    with context.wrap_socket(raw, server_hostname=name) as tls:
        tls.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
        print(b''.join(iter(lambda: tls.recv(4096), b'')).decode().split('\\r\\n\\r\\n')[1], end='')
`;

const NODE_CLIENT = `
const [port, name, trusted] = process.argv.slice(1);
const isIp = require('node:net').isIP(name) !== 0;
const socket = require('node:tls').connect({
  port, host: '127.0.0.1', ca: require('node:fs').readFileSync(trusted), ...(isIp ? {} : { servername: name }),
}, () => socket.write('GET / HTTP/1.1\\r\\n\\r\\n'));
let text = '';
socket.on('data', (data) => { text += data; }).on('end', () => process.stdout.write(text.split('\\r\\n\\r\\n')[1]));
`;

const JAVA_CLIENT = `
import java.io.FileInputStream;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.*;

public class Client {
  public static void main(String[] args) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream(args[2])));
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    Socket raw = new Socket("127.0.0.1", Integer.parseInt(args[0]));
    SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(raw, args[1], 443, true);
    SSLParameters parameters = socket.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    socket.setSSLParameters(parameters);
    socket.startHandshake();
    String text = new String(socket.getInputStream().readAllBytes());
    System.out.print(text.split("\\r\\n\\r\\n")[1]);
  }
}
`;
