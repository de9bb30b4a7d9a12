/**
 * What one agent may use, as far as the rules say it before a request is seen: hosts, ports, methods. Asked of the same
 * conditions as every verdict, with what is not known left unknown; so it names no rule, no other agent, and nothing
 * that this agent could not find out by trying. Decides nothing: see decide.ts.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { AgentFacts, ConnectFacts, Scheme } from '../domain/facts.ts';
import type { Host } from '../domain/hostname.ts';
import type { Enforcement, Verdict } from '../domain/verdict.ts';
import { children, dottedPath } from './cel-ast.ts';
import { Frame } from './frame.ts';
import type { RuleFinder } from './host-index.ts';
import { type NamedHosts, namedHosts } from './host-scope.ts';
import { evaluate, mayMatch, servesPort } from './outcome.ts';
import type { Rule } from './rule.ts';

/** By name, or `any` for all of them. */
export type Methods = 'any' | readonly string[];

export interface HostAccess {
  /** A name or an address; `*.example.com` for the names below it that have no entry of their own; `*` for all such. */
  readonly host: string;
  /** `tcp`: any protocol, relayed unread. */
  readonly schemes: readonly (Scheme | 'tcp')[];
  /** `any`: those that no other entry of the host names. */
  readonly ports: 'any' | readonly number[];
  readonly methods: Methods;
  /** Methods of which some requests pass, by what else they say. */
  readonly partly: Methods;
  /** TLS is opened to look at requests: the client has to trust the CA. */
  readonly intercepted: boolean;
}

export interface Access {
  /** False where some rule picks hosts or ports otherwise than by naming them: these may differ from what is told. */
  readonly complete: boolean;
  readonly hosts: readonly HostAccess[];
}

/** What is asked of a rule set. */
export interface AccessParts {
  readonly rules: readonly Rule[];
  readonly finder: RuleFinder;
  /** Of the closing default. */
  readonly enforcement: Enforcement;
  connect(facts: ConnectFacts): Verdict;
}

/** As many as an agent can make use of; keeps the answer below a megabyte. */
const MAX_HOSTS = 1_000;
const USUAL_PORTS = { https: 443, http: 80 } as const;
/** Those of RFC 9110 that are forwarded, and PATCH. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;
/** Stands for the names below one, and (RFC 6761: under `invalid`) for all names. */
const SOME_LABEL = 'outcall-any';
const SOME_NAME = `${SOME_LABEL}.invalid` as Host;
/** Stands for the ports that no rule names: one of the dynamic range (RFC 6335), where nothing is served. */
const SOME_PORT = 65_535;
const NONE: readonly string[] = [];

type Way = Omit<HostAccess, 'host' | 'ports' | 'schemes'> & { readonly scheme: Scheme | 'tcp' };
type Answer = 'yes' | 'some' | 'no';

export function accessOf(agent: AgentFacts, parts: AccessParts): Access {
  const reader = new AccessReader(agent, parts);
  const own = parts.rules.filter((rule) => reader.concerns(rule));
  const named = own.map((rule) => namedHosts(rule.ast));
  const subjects = subjectsOf(named);
  return {
    complete: subjects.length <= MAX_HOSTS && named.every(({ alike }) => alike) && !own.some(mentionsPort),
    hosts: subjects.slice(-MAX_HOSTS).flatMap((subject) => reader.entriesOf(subject)),
  };
}

interface Subject {
  readonly shown: string;
  /** What is asked for in its place. */
  readonly host: Host;
}

/** Patterns, which cover more, stand last. */
function subjectsOf(named: readonly NamedHosts[]): readonly Subject[] {
  const exact = new Set(named.flatMap((hosts) => hosts.exact));
  const below = new Set(named.flatMap((hosts) => hosts.below));
  return [
    ...[...exact].map((name) => ({ shown: name, host: name as Host })),
    ...[...below].map((name) => ({ shown: `*.${name}`, host: `${SOME_LABEL}.${name}` as Host })),
    { shown: '*', host: SOME_NAME },
  ];
}

/** A condition on the port, unlike `ports`, names none that could be listed. */
function mentionsPort(rule: Rule): boolean {
  const mentions = (node: ASTNode): boolean => dottedPath(node) === 'network.port' || children(node).some(mentions);
  return mentions(rule.ast);
}

class AccessReader {
  readonly #agent: AgentFacts;
  readonly #parts: AccessParts;
  readonly #frame = new Frame();

  constructor(agent: AgentFacts, parts: AccessParts) {
    this.#agent = agent;
    this.#parts = parts;
  }

  entriesOf({ shown, host }: Subject): readonly HostAccess[] {
    const ports = new Set(this.#parts.finder.candidates(host).flatMap((rule) => [...(rule.ports ?? [])]));
    const secure = this.#grouped(ports, USUAL_PORTS.https, (port) => this.#secureWay(host, port));
    const plain = this.#grouped(ports, USUAL_PORTS.http, (port) => this.#requestWay('http', host, port));
    return joined([...secure, ...plain]).map((group) => entryOf(shown, group));
  }

  /** Whether this agent could do something that the rule has to do with. */
  concerns(rule: Rule): boolean {
    return (['https', 'http'] as const).some((scheme) => {
      this.#frame.setAsked(this.#agent, scheme, undefined, undefined);
      const outcome = evaluate(rule.read, this.#frame);
      return mayMatch(outcome) || (outcome !== false && rule.allow === undefined);
    });
  }

  /** Ports from which all is the same go together; those that no rule names are `any`. */
  #grouped(named: ReadonlySet<number>, usual: number, wayTo: (port: number) => Way | undefined): Group[] {
    const elsewhere = wayTo(SOME_PORT);
    const groups = new Map<string, { ports: number[]; way: Way }>();
    for (const port of new Set([...named, usual])) {
      const way = wayTo(port);
      const key = JSON.stringify(way);
      if (way === undefined || key === JSON.stringify(elsewhere)) continue;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { ports: [port], way });
      else group.ports.push(port);
    }
    const some = [...groups.values()].map(({ ports, way }) => ({ ports: ports.sort((a, b) => a - b), way }));
    return elsewhere === undefined ? some : [...some, { ports: 'any', way: elsewhere }];
  }

  #secureWay(host: Host, port: number): Way | undefined {
    const verdict = this.#parts.connect({ agent: this.#agent, host, port });
    if (verdict.action === 'block') return undefined;
    const { grant, provisional } = verdict;
    if (grant.mode === 'intercept') return this.#requestWay('https', host, port);
    const scheme = grant.mode === 'direct_ip' ? 'tcp' : 'https';
    return { scheme, methods: provisional ? NONE : 'any', partly: provisional ? 'any' : NONE, intercepted: false };
  }

  #requestWay(scheme: Scheme, host: Host, port: number): Way | undefined {
    const intercepted = scheme === 'https';
    const whichever = this.#walk(scheme, host, port, undefined);
    if (whichever === 'no') return undefined;
    if (whichever === 'yes') return { scheme, methods: 'any', partly: NONE, intercepted };
    const answers = METHODS.map((method) => this.#walk(scheme, host, port, method));
    const methods = METHODS.filter((_, i) => answers[i] === 'yes');
    const partly = METHODS.filter((_, i) => answers[i] === 'some');
    // Either what decides is not the method, or it is a method beyond the usual ones.
    if (methods.length === 0 && (partly.length === METHODS.length || partly.length === 0)) {
      return { scheme, methods: NONE, partly: 'any', intercepted };
    }
    return { scheme, methods, partly, intercepted };
  }

  /** Whether requests of that kind pass: all, some or none of them. */
  #walk(scheme: Scheme, host: Host, port: number, method: string | undefined): Answer {
    this.#frame.setAsked(this.#agent, scheme, host, port);
    this.#frame.method = method;
    let mayPass = false;
    let mayNot = false;
    for (const rule of this.#parts.finder.candidates(host)) {
      if (!servesPort(rule, port) || rule.tls !== undefined) continue;
      const outcome = evaluate(rule.read, this.#frame);
      if (rule.allow !== undefined) {
        if (!mayMatch(outcome)) continue;
        mayPass = true;
        mayNot ||= rule.allow.checksResponse;
        if (outcome === true) return mayNot ? 'some' : 'yes';
      } else if (rule.view.enforcement === 'enforce' && outcome !== false) {
        mayNot = true;
        if (outcome !== undefined) return mayPass ? 'some' : 'no';
      }
    }
    if (this.#parts.enforcement === 'audit') return mayNot ? 'some' : 'yes';
    return mayPass ? 'some' : 'no';
  }
}

interface Group {
  readonly ports: HostAccess['ports'];
  readonly way: Way;
  /** Of another scheme, with all else the same. */
  readonly also?: Way;
}

/** One entry for http and https where they differ in nothing else; what any protocol may use is not said again for http. */
function joined(groups: readonly Group[]): readonly Group[] {
  const kept: Group[] = [];
  for (const group of groups) {
    const twin = kept.findIndex(({ ports, way }) => sameBut(ports, way) === sameBut(group.ports, group.way));
    const { way } = kept[twin] ?? {};
    if (way === undefined) kept.push(group);
    else if (way.scheme !== 'tcp') kept[twin] = { ports: group.ports, way, also: group.way };
  }
  return kept;
}

function sameBut(ports: HostAccess['ports'], { methods, partly }: Way): string {
  return JSON.stringify([ports, methods, partly]);
}

function entryOf(host: string, { ports, way, also }: Group): HostAccess {
  const { scheme, methods, partly, intercepted } = way;
  return { host, schemes: also === undefined ? [scheme] : [scheme, also.scheme], ports, methods, partly, intercepted };
}
