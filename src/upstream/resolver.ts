/**
 * Our own stub resolver: one question to several servers, the next one asked when the one before fails or is slow, and
 * the first sound answer taken. A server that did not answer is asked last for a while. Keeps no answers: see
 * resolve.ts and resolver-records.ts. Threats 3, 36 (an unreachable resolver).
 */
import { isIP } from 'node:net';
import type { Clock } from '../domain/clock.ts';
import { RCODE, rcodeName } from '../wire/dns-codes.ts';
import type { DnsResponse } from '../wire/dns-response.ts';
import { ResolverError } from './resolver-error.ts';
import { askServer, type DnsQuestion, type DnsServer } from './resolver-exchange.ts';

export interface StubResolverOptions {
  /** `address:port`, `[v6]:port` or a bare address each, in the order of preference; at least one. */
  readonly servers: readonly string[];
  /** One question, all servers and tries together. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

const DNS_PORT = 53;
/** A packet may get lost: each server is asked again after all were asked once. */
const ROUNDS = 2;
/** How long a server has before the next one is asked as well; its answer still counts when it comes. */
const NEXT_TRY_AFTER_MS = 800;
/** Where the whole time is short, this many tries must fit. */
const TRIES_IN_TIME = 4;
/** How long a server that did not answer comes last. */
const SILENT_FOR_MS = 30_000;

export class StubResolver {
  readonly #servers: readonly DnsServer[];
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #lastUntil = new Map<DnsServer, number>();

  /** Throws RangeError where a server is not an address with or without a port. */
  constructor({ servers, timeoutMs, clock }: StubResolverOptions) {
    this.#servers = servers.map(readServer);
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
  }

  /**
   * The first answer of NOERROR or NXDOMAIN. Rejects with ResolverError: `ETIMEOUT`, or what a server answered instead;
   * or with the error of the socket where none answered.
   */
  async ask(question: DnsQuestion): Promise<DnsResponse> {
    const asking = new Asking(this.#inOrder(), question, Math.min(NEXT_TRY_AFTER_MS, this.#timeoutMs / TRIES_IN_TIME));
    const deadline = setTimeout(() => asking.giveUp(this.#timeoutMs), this.#timeoutMs);
    try {
      return await asking.answer;
    } finally {
      clearTimeout(deadline);
      asking.end();
      for (const server of asking.silent) this.#lastUntil.set(server, this.#clock.now() + SILENT_FOR_MS);
    }
  }

  #inOrder(): readonly DnsServer[] {
    const now = this.#clock.now();
    const comesLast = (server: DnsServer) => (this.#lastUntil.get(server) ?? 0) > now;
    return [...this.#servers.filter((server) => !comesLast(server)), ...this.#servers.filter(comesLast)];
  }
}

/** One question under way: starts the next try when one fails or takes long, until one succeeds or none is left. */
class Asking {
  readonly answer: Promise<DnsResponse>;
  /** Asked, and did not answer at all. */
  readonly silent = new Set<DnsServer>();
  readonly #question: DnsQuestion;
  readonly #nextAfterMs: number;
  readonly #left: DnsServer[];
  readonly #failures = new Map<DnsServer, unknown>();
  readonly #abort = new AbortController();
  readonly #settle = Promise.withResolvers<DnsResponse>();
  #underWay = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(servers: readonly DnsServer[], question: DnsQuestion, nextAfterMs: number) {
    this.#question = question;
    this.#nextAfterMs = nextAfterMs;
    this.#left = Array.from({ length: ROUNDS }, () => servers).flat();
    this.answer = this.#settle.promise;
    this.#startNext();
  }

  giveUp(afterMs: number): void {
    this.#settle.reject(new ResolverError('ETIMEOUT', `no answer within ${afterMs} ms`));
  }

  /** Closes whatever is still under way. */
  end(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  #startNext(): void {
    clearTimeout(this.#timer);
    if (this.#abort.signal.aborted) return;
    const server = this.#nextServer();
    if (server === undefined) {
      if (this.#underWay === 0) this.#settle.reject(this.#worstFailure());
      return;
    }
    this.#underWay++;
    this.silent.add(server);
    this.#timer = setTimeout(() => this.#startNext(), this.#nextAfterMs);
    askOne(server, this.#question, this.#abort.signal).then(
      (response) => {
        this.silent.delete(server);
        this.#settle.resolve(response);
      },
      (error: unknown) => this.#failed(server, error),
    );
  }

  #failed(server: DnsServer, error: unknown): void {
    this.#underWay--;
    this.#failures.set(server, error);
    if (error instanceof ResolverError) this.silent.delete(server);
    this.#startNext();
  }

  /** A server that said no, or where nobody listens, would do so again. */
  #nextServer(): DnsServer | undefined {
    for (let server = this.#left.shift(); server !== undefined; server = this.#left.shift()) {
      if (!this.#failures.has(server)) return server;
    }
    return undefined;
  }

  /** What a server said tells more than that another cannot be reached. */
  #worstFailure(): unknown {
    const failures = [...this.#failures.values()];
    return failures.find((error) => error instanceof ResolverError) ?? failures[0];
  }
}

async function askOne(server: DnsServer, question: DnsQuestion, signal: AbortSignal): Promise<DnsResponse> {
  const response = await askServer(server, question, signal);
  if (response.rcode === RCODE.NOERROR || response.rcode === RCODE.NXDOMAIN) return response;
  throw new ResolverError(`E${rcodeName(response.rcode)}`, `the server answered ${rcodeName(response.rcode)}`);
}

/** With no port, IPv6 may stand without brackets. */
function readServer(text: string): DnsServer {
  if (isIP(text) !== 0) return { host: text, port: DNS_PORT };
  const [, v6, v4, portText] = /^(?:\[([^\]]+)\]|([^:]+))(?::([0-9]{1,5}))?$/.exec(text) ?? [];
  const host = v6 ?? v4 ?? '';
  const port = portText === undefined ? DNS_PORT : Number(portText);
  if (isIP(host) !== 0 && port > 0 && port < 0x1_0000) return { host, port };
  throw new RangeError(`${JSON.stringify(text)} is not ADDRESS:PORT with an IP address`);
}
