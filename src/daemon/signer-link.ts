/**
 * The supervisor's side of the signer process: starts it, replaces it, gives it the rules that bound what it may mint,
 * and asks it for leaves. The CA key never comes here; what the signer tells of the CA is public.
 * Imported only under a CA (S011-FR-022). Threats rows 34, 35, 36.
 */
import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Log } from '../audit/log.ts';
import { FlowFailure } from '../domain/failure.ts';
import { Histogram } from '../domain/histogram.ts';
import type { Host } from '../domain/hostname.ts';
import type { CaSet } from '../pki/ca-certificate.ts';
import type { CaError } from '../pki/ca-error.ts';
import type { Leaf } from '../pki/leaf.ts';
import { serveLeaves } from '../pki/leaf-server.ts';
import type { Port } from '../pki/port.ts';
import { onLeafGenerated, SignerClient, type SignerStatus, signerReady, stopSigner } from '../pki/signer-client.ts';
import { SIGNER_EXEC_ARGV } from '../pki/signer-process.ts';
import type { SignerChange, UploadRequest } from '../pki/signer-protocol.ts';
import { ipcPort } from './ipc-port.ts';
import { type ChildExit, KeptChild } from './kept-child.ts';
import type { FromSigner, RulesPayload, SignerStart, ToSigner } from './messages.ts';
import type { UserAndGroup } from './option-checks.ts';

/** Compiling the largest rule set takes a second or two; a signer that takes longer hangs, and is replaced. */
const TAKE_RULES_MS = 10_000;

export interface SignerLinkOptions {
  readonly entry: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly start: Omit<SignerStart, 'type'>;
  /** --signer-user */
  readonly user: UserAndGroup | undefined;
  readonly log: Log;
  /** What a signer has found at its start, each time that one is started. */
  onCas(cas: CaSet): void;
}

export class SignerLink {
  /** How long each leaf took that was signed. */
  readonly mints = new Histogram();
  readonly #options: SignerLinkOptions;
  #child: KeptChild<ToSigner | UploadRequest, FromSigner>;
  #port: Port | undefined;
  #client: SignerClient | undefined;
  #ready: Promise<CaSet> | undefined;
  /** A signer has found its CA good once; what is wrong later may be put right. */
  #wasReady = false;
  #rules: RulesPayload | undefined;
  #rulesTaken: (() => void) | undefined;

  constructor(options: SignerLinkOptions) {
    this.#options = options;
    this.#child = this.#makeChild();
  }

  /**
   * Resolves when the signer has loaded what CAs there are; rejects with CaError (message for the operator) when it cannot.
   * After stop() it may be started again.
   */
  async start(): Promise<void> {
    this.#wasReady = false;
    this.#child = this.#makeChild();
    await this.#child.start();
    await this.#ready;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Resolves when the signer mints by this set, or is dead (the next one starts with it). */
  async takeRules(rules: RulesPayload): Promise<void> {
    this.#rules = rules;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#rulesTaken = resolve;
    if (!this.#child.send({ type: 'rules', rules })) resolve();
    const deadline = setTimeout(() => this.#child.kill(), TAKE_RULES_MS);
    await promise;
    clearTimeout(deadline);
  }

  /** Answers what this worker asks of the signer, by the signer of the moment. */
  serve(worker: ChildProcess): void {
    serveLeaves(ipcPort(worker), (host) => this.#leafFor(host));
  }

  /** Rejects with CaError where nothing was changed, with FlowFailure where the signer is gone. */
  async change(change: SignerChange): Promise<CaSet> {
    return this.#running().change(change);
  }

  /** The signer reads a CA off this socket, of which nothing has been read here. Rejects as change() does. */
  upload(socket: Socket): Promise<{ cas: CaSet | CaError; answer(this: void, text: string): void }> {
    return this.#running().upload((id) => this.#child.send({ type: 'ca_upload', id }, socket));
  }

  /** Undefined while the signer is being replaced. */
  async status(): Promise<SignerStatus | undefined> {
    return this.#client?.status().catch(() => undefined);
  }

  /** The signer lets go of leaves and key and ends; resolves when it is gone. */
  async stop(): Promise<void> {
    const gone = this.#child.stop();
    if (this.#port !== undefined && !(await stopSigner(this.#port))) this.#child.kill();
    await gone;
  }

  #makeChild(): KeptChild<ToSigner | UploadRequest, FromSigner> {
    const { entry, environment, user } = this.#options;
    return new KeptChild<ToSigner | UploadRequest, FromSigner>({
      entry,
      environment,
      execArgv: SIGNER_EXEC_ARGV,
      role: 'signer',
      user,
      inherit: undefined,
      onStart: (process) => this.#begin(process),
      onMessage: (message) => this.#receive(message),
      onExit: (exit) => this.#exited(exit),
    });
  }

  #running(): SignerClient {
    if (this.#client === undefined) throw new FlowFailure('cert_gen_failed', { detail: 'the signer is not running' });
    return this.#client;
  }

  #begin(process: ChildProcess): void {
    const { log, start } = this.#options;
    const port = ipcPort(process);
    this.#port = port;
    this.#client = new SignerClient(port);
    this.#ready = signerReady(port);
    this.#ready.then(
      (cas) => {
        this.#wasReady = true;
        const { subject, fingerprint_sha256 } = cas.current ?? {};
        if (subject !== undefined) {
          log.info({ event: 'ca_loaded', subject, fingerprint_sha256 }, 'the signer has the CA');
        }
        this.#options.onCas(cas);
      },
      (error: Error) => this.#unusable(error),
    );
    onLeafGenerated(port, ({ type, ...leaf }) => {
      this.mints.observe(leaf.duration_ms);
      log.info({ event: type, ...leaf }, 'a leaf was signed');
    });
    this.#child.send({ type: 'start', ...start });
    if (this.#rules !== undefined) this.#child.send({ type: 'rules', rules: this.#rules });
  }

  /** At the start that is final; later the files may be put right, and the next signer finds them so. */
  #unusable(error: Error): void {
    this.#options.log.error({ event: 'ca_unusable' }, error.message);
    if (!this.#wasReady) void this.#child.stop();
  }

  async #leafFor(host: Host): Promise<Leaf> {
    return this.#running().leafFor(host);
  }

  #receive(message: FromSigner): void {
    if (message.type === 'rules_taken' && message.generation === this.#rules?.generation) this.#rulesTaken?.();
  }

  #exited({ pid, code, signal, restartInMs }: ChildExit): void {
    this.#port = undefined;
    this.#client = undefined;
    this.#rulesTaken?.();
    if (restartInMs === undefined) return;
    this.#options.log.error(
      { event: 'signer_died', pid, code, signal, restart_in_ms: restartInMs },
      'the signer died and is replaced',
    );
  }
}
