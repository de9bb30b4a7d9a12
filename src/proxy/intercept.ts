/**
 * TLS interception of one client connection (S011; threats 1, 2, 34). Loaded only where there is a CA.
 *   1. what the origin speaks: known, or learnt by a verified handshake of our own; at the same time the leaf
 *   2. the client's handshake, with that protocol, over the bytes that were peeked
 *   3. HTTP/1.1 or HTTP/2 exchanges, each decided afresh
 * An origin that cannot be verified never shows through: its client still gets a leaf, but only to read a 502.
 */
import { createSecureContext, DEFAULT_CIPHERS, type SecureContext, TLSSocket } from 'node:tls';
import { systemClock } from '../domain/clock.ts';
import { asFailure, FlowFailure } from '../domain/failure.ts';
import type { Leaf, LeafSource } from '../pki/leaf.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { HttpProtocol } from '../upstream/tls.ts';
import type { UpstreamTls } from '../upstream/upstream.ts';
import type { Flow } from './flow.ts';
import { H1Connection } from './h1-connection.ts';
import { H2Connection } from './h2-connection.ts';
import { H2Origins, type OriginSession } from './h2-upstream.ts';
import type { Interception, InterceptRequest } from './interception.ts';
import { stillAllowed } from './known.ts';
import { failedFlow, type OutcomeFields, verdictFields } from './outcome.ts';
import { closeWithAlert } from './refuse.ts';
import { fixedLocator, type Site, type UpstreamConnection } from './site.ts';

const HTTPS_PORT = 443;
/**
 * Key exchange with the agent, the cheapest first. The hybrid post-quantum group that OpenSSL would prefer guards against
 * who records traffic for later; on the bridge between two containers of one host there is nobody to do so.
 */
const CLIENT_SIDE_GROUPS = 'X25519:P-256:P-384';
/** And for the same reason the cipher with the least rounds, and the hash that processors have an instruction for. */
const CHEAPEST_CIPHER = 'TLS_AES_128_GCM_SHA256';
const CLIENT_SIDE_CIPHERS = [
  CHEAPEST_CIPHER,
  ...DEFAULT_CIPHERS.split(':').filter((cipher) => cipher !== CHEAPEST_CIPHER),
].join(':');

/** What is known of the origin before the client is answered. */
interface Learnt {
  readonly alpn: HttpProtocol;
  /** A verified h2 connection that the learning made; it serves this client. */
  readonly session: OriginSession | undefined;
  readonly unreachable: FlowFailure | undefined;
}

interface Means {
  readonly leaves: LeafSource;
  readonly origins: H2Origins;
  readonly contextOf: (leaf: Leaf) => SecureContext;
}

export function createInterception(leaves: LeafSource, ticketKeys: Buffer): Interception {
  const contexts = new WeakMap<Leaf, SecureContext>();
  const origins = new H2Origins(systemClock);
  return {
    async serve(flow, request) {
      try {
        await serve(flow, request, { leaves, origins, contextOf: (leaf) => contextFor(contexts, leaf, ticketKeys) });
      } catch (error) {
        refuse(flow, request, error);
      }
    },
  };
}

async function serve(flow: Flow, request: InterceptRequest, { leaves, origins, contextOf }: Means): Promise<void> {
  const { origin } = request;
  const permittedBy = (rules: RuleSet): boolean => stillAllowed(request.known, request.verdict, rules);
  flow.handler = {
    onTimeout: () => flow.raw.destroy(),
    onDrain: () => undefined,
    permittedBy,
    abort: () => flow.raw.resetAndDestroy(),
  };
  const learning = learn(flow, request, origins);
  let stream: TLSSocket;
  try {
    // Made while the origin is still being asked.
    const context = contextOf(await leaves.leafFor(origin.host));
    const { alpn } = await learning;
    const startedAt = performance.now();
    stream = await clientHandshake(flow, context, alpn, permittedBy);
    flow.deps.counts.clientHandshake.since(startedAt);
  } catch (error) {
    void learning.then(({ session }) => session?.destroy());
    throw error;
  }
  const learnt = await learning;
  if (stream.alpnProtocol === 'h2') {
    new H2Connection(
      flow,
      stream,
      {
        ...{ origin, origins, tls: request.known.tls, fields: interceptedFields(request) },
        ...{ session: learnt.session, unreachable: learnt.unreachable },
      },
      permittedBy,
    ).start();
    return;
  }
  new H1Connection(flow, stream, decryptedSite(flow, request, learnt.unreachable), permittedBy).start(undefined);
}

/** ALPN parity (S011-FR-009, EC-002): the client is offered what the origin speaks. Never rejects. */
async function learn(flow: Flow, { origin, known: connection }: InterceptRequest, origins: H2Origins): Promise<Learnt> {
  const offer = httpOffer(connection.tls.alpn);
  const { upstream } = flow.deps;
  // For a client of HTTP/1.1 alone, a verified connection that rests says as much as a new one would.
  const known = upstream.knownAlpn(origin) ?? (offer.includes('h2') ? undefined : upstream.restingAlpn(origin));
  if (known !== undefined && offer.includes(known)) return { alpn: known, session: undefined, unreachable: undefined };
  try {
    const tls = await upstream.dialTls(origin, offer);
    if (tls.alpn === 'h2') return { alpn: 'h2', session: await origins.open(origin, tls), unreachable: undefined };
    upstream.release(tls);
    return { alpn: 'http/1.1', session: undefined, unreachable: undefined };
  } catch (error) {
    const unreachable = asFailure(error);
    return { alpn: offer.includes('http/1.1') ? 'http/1.1' : 'h2', session: undefined, unreachable };
  }
}

/** What we can speak of what the client offered; a client without ALPN speaks HTTP/1.1. */
function httpOffer(offered: readonly string[]): readonly HttpProtocol[] {
  const offer = offered.filter((name) => name === 'h2' || name === 'http/1.1');
  return offer.length > 0 ? offer : ['http/1.1'];
}

/** The client's handshake over the peeked socket. Rejects with `client_handshake_failed`. */
async function clientHandshake(
  flow: Flow,
  context: SecureContext,
  alpn: HttpProtocol,
  permittedBy: (rules: RuleSet) => boolean,
): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  if (flow.raw.destroyed) throw new FlowFailure('client_closed', { detail: 'before_handshake' });
  const stream = new TLSSocket(flow.raw, { isServer: true, secureContext: context, ALPNProtocols: [alpn] });
  flow.expectWithin(flow.deps.options.helloTimeoutMs);
  const fail = (detail: string, cause?: unknown): void =>
    reject(new FlowFailure('client_handshake_failed', { detail, cause }));
  flow.handler = {
    onTimeout: () => {
      fail('timeout');
      stream.destroy();
    },
    onDrain: () => undefined,
    permittedBy,
    abort: () => flow.raw.resetAndDestroy(),
  };
  const onClose = (): void => fail('closed_during_handshake');
  stream.on('error', (error: Error) => fail(handshakeDetail(error), error));
  // The socket is half-open, so a FIN alone closes nothing.
  stream.once('end', onClose);
  stream.once('close', onClose);
  stream.once('secure', () => {
    stream.off('end', onClose);
    stream.off('close', onClose);
    // What tls.Server would do: without the call later TLS errors are lost.
    (stream as unknown as { _releaseControl(): void })._releaseControl();
    resolve(stream);
  });
  return promise;
}

/** The one place that reads what clients say of our leaf (S011-EC-001, EC-003). */
function handshakeDetail(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code.endsWith('ALERT_UNKNOWN_CA') || code.endsWith('ALERT_CERTIFICATE_UNKNOWN')) return 'untrusted_ca';
  if (code.endsWith('ALERT_BAD_CERTIFICATE')) return 'pinned';
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'closed_during_handshake';
  return code === '' ? error.message : code.replace(/^ERR_SSL_/, '').toLowerCase();
}

function decryptedSite(flow: Flow, request: InterceptRequest, unreachable: FlowFailure | undefined): Site {
  const { upstream } = flow.deps;
  const { origin } = request;
  return {
    scheme: 'https',
    taken: 'intercept',
    tls: request.known.tls,
    fields: interceptedFields(request),
    unreachable,
    locate: fixedLocator(origin.host, origin.port, HTTPS_PORT),
    take: (to) => upstream.take(to),
    dial: (to) => upstream.dialTls(to, ['http/1.1']),
    lacks: (connection) => upstream.lacks(connection as UpstreamTls),
    release: (connection: UpstreamConnection) => upstream.release(connection as UpstreamTls),
  };
}

function contextFor(contexts: WeakMap<Leaf, SecureContext>, leaf: Leaf, ticketKeys: Buffer): SecureContext {
  let context = contexts.get(leaf);
  if (context === undefined) {
    context = createSecureContext({
      cert: leaf.chainPem,
      key: leaf.keyPem,
      minVersion: 'TLSv1.2',
      ecdhCurve: CLIENT_SIDE_GROUPS,
      ciphers: CLIENT_SIDE_CIPHERS,
      honorCipherOrder: true,
      ticketKeys,
      sessionIdContext: leaf.host.slice(0, 32),
    });
    contexts.set(leaf, context);
  }
  return context;
}

/** What every audit record of an intercepted connection says. */
function interceptedFields({ origin, verdict, generation }: InterceptRequest): OutcomeFields {
  return {
    taken: 'intercept',
    scheme: 'https',
    host: origin.host,
    port: origin.port,
    generation,
    ...verdictFields(verdict),
  };
}

function refuse(flow: Flow, request: InterceptRequest, error: unknown): void {
  const failure = asFailure(error);
  if (failure.reason === 'internal_error') flow.deps.log.error({ err: error, flow: flow.id }, 'interception failed');
  failedFlow(flow, failure, interceptedFields(request));
  flow.handler = undefined;
  // Only without a leaf has no handshake begun; after our ServerHello an alert in the clear would be noise.
  if (failure.reason === 'cert_gen_failed') closeWithAlert(flow, 'internal_error');
  else flow.raw.destroy();
}
