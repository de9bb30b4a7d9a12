/** HTTP clients of Node and of undici, run in the test's own process, each as a RealClient. */
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { EnvHttpProxyAgent, ProxyAgent, request } from 'undici';
import { H2Agent, openTunnel, startTls } from '../kit/agent.ts';
import type { Got, RealClient } from './client.ts';
import type { ClientScene } from './scene.ts';

export const undiciProxyAgent: RealClient = {
  name: 'undici with ProxyAgent',
  httpVersion: '1.1',
  present: true,
  saysRefused: /403/,
  distrust: { reason: 'client_handshake_failed', detail: 'closed_during_handshake' },
  get: (scene, url, caFile) =>
    undiciGet(new ProxyAgent({ uri: scene.proxyUrl, requestTls: { ca: readFileSync(caFile) }, allowH2: false }), url),
};

export const undiciEnvProxyAgent: RealClient = {
  ...undiciProxyAgent,
  name: 'undici with EnvHttpProxyAgent',
  get: (scene, url, caFile) =>
    undiciGet(
      new EnvHttpProxyAgent({
        httpsProxy: scene.proxyUrl,
        noProxy: '',
        requestTls: { ca: readFileSync(caFile) },
        allowH2: false,
      }),
      url,
    ),
};

export const nodeHttps: RealClient = {
  ...undiciProxyAgent,
  name: 'Node https.request',
  get: (scene, url, caFile) => told(() => httpsGet(proxiedAgent(scene, caFile), url)),
};

export const nodeHttp2: RealClient = {
  ...undiciProxyAgent,
  name: 'Node http2',
  httpVersion: '2',
  get: (scene, url, caFile) => told(() => http2Get(scene, url, caFile)),
};

/** An agent of Node's that opens tunnels by itself, as HTTPS_PROXY has it do. */
export function proxiedAgent(scene: ClientScene, caFile: string): https.Agent {
  return new https.Agent({ proxyEnv: { HTTPS_PROXY: scene.proxyUrl }, ca: readFileSync(caFile) });
}

async function undiciGet(dispatcher: ProxyAgent | EnvHttpProxyAgent, url: string): Promise<Got> {
  await using _closed = { [Symbol.asyncDispose]: () => dispatcher.destroy() };
  return await told(async () => {
    const { statusCode, body } = await request(url, { dispatcher });
    return { status: statusCode, body: await body.text() };
  });
}

function httpsGet(agent: https.Agent, url: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = https.get(url, { agent }, (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (body += chunk));
      answer.on('end', () => {
        agent.destroy();
        resolve({ status: answer.statusCode, body });
      });
    });
    sent.on('error', reject);
  });
}

async function http2Get(scene: ClientScene, url: string, caFile: string): Promise<{ status: number; body: string }> {
  const { host, hostname, pathname } = new URL(url);
  await using tunnel = await openTunnel(scene.daemon, host);
  const socket = await startTls(tunnel, { ca: readFileSync(caFile, 'utf8'), servername: hostname, alpn: ['h2'] });
  await using client = new H2Agent(socket, host);
  const { status, body } = await client.request({ ':path': pathname });
  return { status, body: body.toString() };
}

/** A client that throws has told its user what the error says, with its causes. */
async function told(ask: () => Promise<{ status: number | undefined; body: string }>): Promise<Got> {
  try {
    return { ...(await ask()), said: '' };
  } catch (error) {
    return { status: undefined, body: '', said: causes(error) };
  }
}

function causes(error: unknown): string {
  if (!(error instanceof Error)) return '';
  return `${error.name} ${error.message} ${(error as NodeJS.ErrnoException).code ?? ''}\n${causes(error.cause)}`;
}
