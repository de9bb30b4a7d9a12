/**
 * The CA of the daemon while it runs: where the signer runs and where not, what workers and rules must know when the CA
 * changes, one change at a time. Holds certificates alone; the signer writes the folder and has the keys (threats 34, 35).
 * Imported only where a CA may come to be (S011-FR-022).
 */
import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import type { CaOutcome } from '../admin/backend.ts';
import type { Log } from '../audit/log.ts';
import type { AgentEntry, CaAnswer, CaChange, CaSummary } from '../domain/admin-api.ts';
import { FlowFailure } from '../domain/failure.ts';
import { bundleOf, type CaInfo, type CaSet, NO_CA } from '../pki/ca-certificate.ts';
import { CaError } from '../pki/ca-error.ts';
import { needsSigner, UNMANAGED } from '../pki/ca-names.ts';
import { LEAF_CACHE_MAX } from '../pki/leaf-cache.ts';
import type { CaSource } from '../pki/signer.ts';
import type { SignerChange } from '../pki/signer-protocol.ts';
import type { RulesPayload, ToWorker } from './messages.ts';
import type { RulesKeeper } from './rules-keeper.ts';
import { SignerLink, type SignerLinkOptions } from './signer-link.ts';

/** How many rules or agents a refusal names. */
const MAX_NAMED = 5;

export interface CaKeeperParts extends Omit<SignerLinkOptions, 'onCas'> {
  readonly source: CaSource;
  readonly log: Log;
  rules(): RulesKeeper | undefined;
  agents(): readonly AgentEntry[];
  tellWorkers(message: ToWorker): void;
}

export class CaKeeper {
  readonly #parts: CaKeeperParts;
  readonly #link: SignerLink;
  #running = false;
  #cas = NO_CA;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(parts: CaKeeperParts) {
    this.#parts = parts;
    this.#link = new SignerLink({ ...parts, onCas: (cas) => void this.#adopt(cas) });
  }

  /** Starts the signer where there is a CA. Rejects with CaError where it cannot be used. */
  async start(): Promise<void> {
    const { source } = this.#parts;
    if ('folder' in source && !needsSigner(source.folder)) return;
    await this.#run();
    await this.#restWithoutCa();
  }

  get cas(): CaSet {
    return this.#cas;
  }

  /** How long leaves took to sign. */
  get mints(): SignerLink['mints'] {
    return this.#link.mints;
  }

  /** What a worker must know before it serves. */
  get news(): ToWorker {
    return { type: 'ca', bundle: bundleOf(this.#cas) || undefined, forgetLeaves: false };
  }

  serve(worker: ChildProcess): void {
    this.#link.serve(worker);
  }

  async takeRules(rules: RulesPayload): Promise<void> {
    if (this.#running) await this.#link.takeRules(rules);
  }

  async answer(): Promise<CaAnswer> {
    const { current, next, previous } = this.#cas;
    const cache = this.#running ? await this.#link.status() : undefined;
    return {
      loaded: current !== undefined,
      managed: 'folder' in this.#parts.source,
      ...(current === undefined ? NOBODY : summaryOf(current)),
      next: next === undefined ? null : summaryOf(next),
      previous: previous === undefined ? null : summaryOf(previous),
      leaf_cache_size: cache?.leaf_cache_size ?? null,
      leaf_cache_max: cache?.leaf_cache_max ?? LEAF_CACHE_MAX,
    };
  }

  /** Resolves when workers and rules have taken it. Never rejects. */
  change(change: CaChange): Promise<CaOutcome> {
    return this.#inTurn(async () => {
      if (change.kind === 'delete') this.#insistOnUnused(change);
      if (change.kind === 'rotate' && !change.force) this.#insistOnTrusted();
      await this.#run();
      await this.#take(await this.#link.change(asSignerChange(change)));
    });
  }

  /** Takes the socket over. Its client is told what came of it. */
  upload(socket: Socket, text: (outcome: CaOutcome) => string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#run();
      const { cas, answer } = await this.#link.upload(socket);
      const outcome = await this.#attempt(async () => {
        if (cas instanceof CaError) throw cas;
        await this.#take(cas);
      });
      answer(text(outcome));
    }).then((outcome) => {
      // Where the signer is gone, so is its end of the connection.
      if (!outcome.ok) socket.destroy();
    });
  }

  async stop(): Promise<void> {
    await this.#queue;
    if (this.#running) await this.#link.stop();
  }

  #inTurn(work: () => Promise<void>): Promise<CaOutcome> {
    const done = this.#queue.then(async () => {
      const outcome = await this.#attempt(work);
      await this.#restWithoutCa();
      return outcome;
    });
    this.#queue = done;
    return done;
  }

  async #attempt(work: () => Promise<void>): Promise<CaOutcome> {
    try {
      if (!('folder' in this.#parts.source)) throw new CaError('refused', UNMANAGED);
      await work();
      return { ok: true, answer: await this.answer() };
    } catch (error) {
      return { ok: false, status: statusOf(error), detail: messageOf(error) };
    }
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      await this.#link.start();
    } catch (error) {
      this.#running = false;
      throw error;
    }
  }

  /** Without a CA no signer runs. */
  async #restWithoutCa(): Promise<void> {
    if (!this.#running || this.#cas.current !== undefined) return;
    this.#running = false;
    await this.#link.stop();
  }

  async #take(cas: CaSet): Promise<void> {
    const { log } = this.#parts;
    const names = { current: cas.current?.subject, next: cas.next?.subject, previous: cas.previous?.subject };
    log.info({ event: 'ca_changed', ...names }, 'the CA was changed');
    await this.#adopt(cas);
  }

  /** Leaves of a CA that is no more are forgotten; rules are read again where another CA means something else to them. */
  async #adopt(cas: CaSet): Promise<void> {
    const before = this.#cas;
    this.#cas = cas;
    const bundle = bundleOf(cas);
    const sameSigner = before.current?.fingerprint_sha256 === cas.current?.fingerprint_sha256;
    if (bundle === bundleOf(before) && sameSigner) return;
    this.#parts.tellWorkers({ type: 'ca', bundle: bundle || undefined, forgetLeaves: !sameSigner });
    if (!sameSigner && this.#parts.rules()?.inForce !== undefined) await this.#parts.rules()?.reload(true);
  }

  /** Who trusts what signs now, and not what is to sign, would be cut off. */
  #insistOnTrusted(): void {
    const [now, next] = [this.#cas.current?.fingerprint_sha256, this.#cas.next?.fingerprint_sha256];
    if (now === undefined || next === undefined) return;
    const behind = this.#parts.agents().filter(({ trusts = [] }) => trusts.includes(now) && !trusts.includes(next));
    if (behind.length === 0) return;
    const words = `agents do not trust the next CA yet (${someOf(behind.map(({ name }) => name))})`;
    const remedy = 'outcall watch installs it within a minute, outcall attach at once';
    throw new CaError('refused', `${words}; ${remedy}; by force, their TLS to intercepted hosts fails until then`);
  }

  /** Without a CA, what a rule wants to intercept would be refused. */
  #insistOnUnused({ which, force }: CaChange & { kind: 'delete' }): void {
    if (which === 'all' && this.#cas.current === undefined) throw new CaError('missing', 'there is no CA');
    const part = which === 'all' ? this.#cas.current : this.#cas[which];
    if (part === undefined) throw new CaError('missing', `there is no ${which} CA`);
    const rules = this.#parts.rules()?.inForce?.rules.rules ?? [];
    const using = rules.filter(({ mode }) => mode === 'intercept').map(({ id }) => id);
    if (which !== 'all' || force || using.length === 0) return;
    const words = `rules intercept by this CA (${someOf(using)})`;
    throw new CaError('refused', `${words}; take them out first, or delete it by force: their hosts are refused then`);
  }
}

const NOBODY = { subject: null, fingerprint_sha256: null, not_before: null, not_after: null, permit_domains: null };

function summaryOf({ subject, fingerprint_sha256, not_before, not_after, constraints }: CaInfo): CaSummary {
  return { subject, fingerprint_sha256, not_before, not_after, permit_domains: constraints?.permitted ?? null };
}

function asSignerChange(change: CaChange): SignerChange {
  if (change.kind === 'delete') return { kind: 'drop', which: change.which };
  return change.kind === 'rotate' ? { kind: 'rotate' } : change;
}

function someOf(names: readonly string[]): string {
  return names.length > MAX_NAMED ? `${names.slice(0, MAX_NAMED).join(', ')}, …` : names.join(', ');
}

function statusOf(error: unknown): number {
  if (!(error instanceof CaError)) return error instanceof FlowFailure ? 503 : 500;
  switch (error.kind) {
    case 'missing':
      return 404;
    case 'exists':
    case 'refused':
      return 409;
    case 'unfit':
      return 422;
  }
}

function messageOf(error: unknown): string {
  return error instanceof FlowFailure ? (error.detail ?? error.reason) : (error as Error).message;
}
