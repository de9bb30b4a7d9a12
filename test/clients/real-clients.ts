/**
 * Programs that people run in containers, each as a RealClient: curl, wget, Python, Java, Node's fetch.
 * None has an option on that would weaken its verification.
 */
import { join } from 'node:path';
import { hasProgram, run } from '../kit/run.ts';
import { type Got, gotFromLine, type RealClient } from './client.ts';
import type { ClientScene } from './scene.ts';

const STATUS_MARK = 'outcall-test-status:';
/** A JVM that compiles its source first, on a busy machine of two cores. */
const JAVA_DEADLINE_MS = 25_000;
/** keytool wants one, and a store opened without it shows no certificates. */
const STORE_PASSWORD = 'changeit';

const UNTRUSTED = { reason: 'client_handshake_failed', detail: 'untrusted_ca' } as const;

export const curlHttp1: RealClient = {
  name: 'curl over HTTP/1.1',
  httpVersion: '1.1',
  present: hasProgram('curl'),
  saysRefused: /CONNECT tunnel failed, response 403/,
  distrust: UNTRUSTED,
  get: (scene, url, caFile) => curlGet(scene, url, caFile, '--http1.1'),
};

export const curlHttp2: RealClient = {
  ...curlHttp1,
  name: 'curl over HTTP/2',
  httpVersion: '2',
  get: (scene, url, caFile) => curlGet(scene, url, caFile, '--http2'),
};

export const curlTls12: RealClient = {
  ...curlHttp1,
  name: 'curl with TLS 1.2 at most (S011-EC-009)',
  httpVersion: '2',
  get: (scene, url, caFile) => curlGet(scene, url, caFile, '--tls-max', '1.2'),
};

export const wget: RealClient = {
  // It looks at the certificate only when the handshake is over, and then just closes.
  name: 'wget',
  httpVersion: '1.1',
  present: hasProgram('wget'),
  saysRefused: /Proxy tunneling failed: Forbidden/,
  distrust: { reason: 'client_closed', detail: 'closed_before_request' },
  async get(scene, url, caFile) {
    const args = ['--no-config', '-nv', '--server-response', '--content-on-error', '--tries=1', '-O', '-'];
    const env = scene.proxyVariables;
    const { stdout, stderr } = await run('wget', [...args, `--ca-certificate=${caFile}`, url], { env });
    const status = [...stderr.matchAll(/^ {2}HTTP\/1\.1 (\d{3})/gm)].at(-1)?.[1];
    return { status: status === undefined ? undefined : Number(status), body: stdout, said: stdout + stderr };
  },
};

const PYTHON_COMMON = `
import json, ssl, sys, urllib.parse
url, proxy, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
def show(status, body):
    print(json.dumps({'status': status, 'body': body.decode()}, separators=(',', ':')))
`;

const URLLIB = `${PYTHON_COMMON}
import urllib.request, urllib.error
handlers = urllib.request.ProxyHandler({'https': proxy}), urllib.request.HTTPSHandler(context=context)
try:
    with urllib.request.build_opener(*handlers).open(url, timeout=10) as answer:
        show(answer.status, answer.read())
except urllib.error.HTTPError as refusal:
    show(refusal.code, refusal.read())
`;

const HTTP_CLIENT = `${PYTHON_COMMON}
import http.client
target, door = urllib.parse.urlsplit(url), urllib.parse.urlsplit(proxy)
connection = http.client.HTTPSConnection(door.hostname, door.port, context=context, timeout=10)
connection.set_tunnel(target.hostname, target.port)
connection.request('GET', target.path)
answer = connection.getresponse()
show(answer.status, answer.read())
`;

export const pythonUrllib: RealClient = {
  name: 'Python urllib with strict X.509',
  httpVersion: '1.1',
  present: hasProgram('python3'),
  saysRefused: /Tunnel connection failed: 403/,
  distrust: UNTRUSTED,
  get: (scene, url, caFile) => pythonGet(URLLIB, scene, url, caFile),
};

export const pythonHttpClient: RealClient = {
  ...pythonUrllib,
  name: 'Python http.client with strict X.509',
  get: (scene, url, caFile) => pythonGet(HTTP_CLIENT, scene, url, caFile),
};

const FETCH = `
try {
  const answer = await fetch(process.argv[1]);
  console.log(JSON.stringify({ status: answer.status, body: await answer.text() }));
} catch (error) {
  for (let cause = error; cause; cause = cause.cause) console.error(String(cause), cause.code ?? '');
}
`;

export const nodeFetch: RealClient = {
  name: 'Node fetch by the proxy variables',
  httpVersion: '1.1',
  present: true,
  saysRefused: /403/,
  distrust: { reason: 'client_handshake_failed', detail: 'closed_during_handshake' },
  async get(scene, url, caFile) {
    const env = { ...scene.proxyVariables, NODE_USE_ENV_PROXY: '1', NODE_EXTRA_CA_CERTS: caFile };
    const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', FETCH, url], { env });
    return gotFromLine(stdout, stderr);
  },
};

export const java: RealClient = {
  name: 'Java HttpClient',
  httpVersion: '2',
  present: hasProgram('java') && hasProgram('keytool'),
  saysRefused: /403|Tunnel failed/,
  // It closes in the middle of the handshake and sends no alert.
  distrust: { reason: 'client_handshake_failed', detail: 'closed_during_handshake' },
  async get(scene, url, caFile) {
    const store = await trustStore(scene, caFile);
    const args = [
      '-XX:TieredStopAtLevel=1',
      '-XX:+UseSerialGC',
      `-Djavax.net.ssl.trustStore=${store}`,
      `-Djavax.net.ssl.trustStorePassword=${STORE_PASSWORD}`,
      join(import.meta.dirname, 'Get.java'),
    ];
    const port = String(scene.daemon.port);
    const { stdout, stderr } = await run('java', [...args, url, port], { timeoutMs: JAVA_DEADLINE_MS });
    return gotFromLine(stdout, stderr);
  },
};

async function curlGet(scene: ClientScene, url: string, caFile: string, ...args: string[]): Promise<Got> {
  const common = ['-q', '-sS', '--proxy', scene.proxyUrl, '--cacert', caFile, '-w', `${STATUS_MARK}%{http_code}`];
  const { stdout, stderr } = await run('curl', [...common, ...args, url]);
  const [body = '', status = '000'] = stdout.split(STATUS_MARK);
  return { status: status === '000' ? undefined : Number(status), body, said: stdout + stderr };
}

async function pythonGet(script: string, scene: ClientScene, url: string, caFile: string): Promise<Got> {
  const { stdout, stderr } = await run('python3', ['-I', '-c', script, url, scene.proxyUrl, caFile]);
  return gotFromLine(stdout, stderr);
}

const trustStores = new Map<string, Promise<string>>();

/** A trust store that holds this one CA, made by keytool once per CA. */
function trustStore(scene: ClientScene, caFile: string): Promise<string> {
  const made =
    trustStores.get(caFile) ?? makeTrustStore(join(scene.folder.path, `trust-${trustStores.size}.p12`), caFile);
  trustStores.set(caFile, made);
  return made;
}

async function makeTrustStore(store: string, caFile: string): Promise<string> {
  const args = [
    '-importcert',
    '-noprompt',
    '-alias',
    'ca',
    '-file',
    caFile,
    '-keystore',
    store,
    '-storepass',
    STORE_PASSWORD,
  ];
  const { code, stdout, stderr } = await run('keytool', args, { timeoutMs: JAVA_DEADLINE_MS });
  if (code !== 0) throw new Error(`keytool: ${stdout}${stderr}`);
  return store;
}
