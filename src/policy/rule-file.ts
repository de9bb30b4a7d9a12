/**
 * One rule file: what is right in it becomes drafts, what is wrong becomes problems, each at its place.
 * Knows nothing of other files: see load.ts. Upholds: threats 27, 28.
 */
import type { Enforcement } from '../domain/verdict.ts';
import { type Condition, checkCondition, checkExpression } from './cel-check.ts';
import type { Fault } from './cel-compile.ts';
import { DEFINITION_NAME, Expansion, type Text } from './definitions.ts';
import type { Finding } from './finding.ts';
import { lintCondition } from './lint-condition.ts';
import { CERTIFICATE_NAMES } from './names.ts';
import { type Problem, shown } from './problem.ts';
import type { RuleDraft } from './rule.ts';
import { checkRule, checkUses, type Surroundings } from './rule-checks.ts';
import { type DefaultsInput, defaultsSchema, fileSchema, type RuleInput, ruleSchema } from './schema.ts';
import { reportIssues } from './schema-problems.ts';
import { TlsMatch, tlsGrant } from './tls-match.ts';
import { type PathKey, YamlSource } from './yaml-source.ts';

export interface FileContext extends Surroundings {
  /** `audit`: of the whole daemon, over what files and rules say. */
  readonly enforcement?: Enforcement;
}

/** A problem whose place is told apart from it; an error where it does not say. */
type FileProblem = Omit<Problem, 'severity' | 'file' | 'line' | 'column'> & { readonly severity?: Problem['severity'] };

/** A rule that was found right, and where it stands. */
export interface LoadedRule {
  readonly draft: RuleDraft;
  readonly source: YamlSource;
  readonly path: readonly PathKey[];
}

/** Reads one file; what is right in it becomes drafts even where the rest is wrong, so that all of it is checked. */
export class RuleFile {
  readonly #source: YamlSource;
  readonly #context: FileContext;
  readonly #definitions = new Map<string, Text<readonly PathKey[]>>();
  readonly #loaded: LoadedRule[] = [];
  /** Every id in the file with its place, from rules with other faults too. */
  readonly ids: { readonly id: string; readonly offset: number }[] = [];
  ruleCount = 0;
  /** As far as they are right. */
  #defaults: DefaultsInput = {};

  constructor(file: string, text: string, context: FileContext) {
    this.#source = new YamlSource(file, text);
    this.#context = context;
    const { data } = this.#source;
    if (this.#source.isEmpty) {
      this.#source.report(0, { message: 'the file is empty', fix: 'version: "1" with rules: [] allows nothing' });
    } else if (data !== undefined) {
      this.#load(data);
    }
  }

  get file(): string {
    return this.#source.file;
  }

  get problems(): readonly Problem[] {
    return this.#source.problems;
  }

  get defaults(): DefaultsInput {
    return this.#defaults;
  }

  get drafts(): readonly RuleDraft[] {
    return this.#loaded.map((loaded) => loaded.draft);
  }

  get loaded(): readonly LoadedRule[] {
    return this.#loaded;
  }

  report(offset: number, problem: FileProblem): void {
    this.#source.report(offset, problem);
  }

  reportDefault(key: keyof DefaultsInput, problem: FileProblem): void {
    this.#source.report(this.#source.offsetOf(['defaults', key]), problem);
  }

  lineOf(offset: number): number {
    return this.#source.position(offset).line;
  }

  #load(data: unknown): void {
    const parsed = fileSchema.safeParse(data);
    if (!parsed.success) reportIssues(this.#source, parsed.error.issues);
    const { definitions, defaults, rules } = (data ?? {}) as Record<'definitions' | 'defaults' | 'rules', unknown>;
    this.#readDefinitions(definitions);
    const read = defaultsSchema.safeParse(defaults ?? {});
    if (read.success) this.#defaults = read.data;
    if (Array.isArray(rules)) for (const [i, rule] of rules.entries()) this.#readRule(rule, i);
    this.ruleCount = Array.isArray(rules) ? rules.length : 0;
    const none = rules === undefined || rules === null || (Array.isArray(rules) && rules.length === 0);
    if (parsed.success && none) {
      this.#source.report(this.#source.offsetOf(['rules']), {
        severity: 'warning',
        message: 'no rules: this file allows nothing',
        fix: 'add rules, or remove the file',
      });
    }
  }

  #readDefinitions(definitions: unknown): void {
    if (typeof definitions !== 'object' || definitions === null) return;
    for (const [name, text] of Object.entries(definitions)) {
      if (typeof text !== 'string' || !DEFINITION_NAME.test(name)) continue;
      this.#definitions.set(name, { text, origin: ['definitions', name] });
    }
    for (const definition of this.#definitions.values()) {
      const expansion = this.#expand(definition, undefined);
      const checked = expansion === undefined ? undefined : checkExpression(expansion.text);
      if (expansion === undefined || checked?.ok !== false) continue;
      this.#reportFaults(expansion, checked.faults, undefined);
    }
  }

  #readRule(data: unknown, index: number): void {
    const path = ['rules', index];
    if (typeof data !== 'object' || data === null) return;
    const { id, condition, action, egress } = data as Record<'id' | 'condition' | 'action' | 'egress', unknown>;
    if (typeof id === 'string') this.ids.push({ id, offset: this.#source.offsetOf([...path, 'id']) });
    const shownId = typeof id === 'string' && id !== '' ? shown(id) : undefined;
    const compiled = this.#readCondition(condition, [...path, 'condition'], shownId, action);
    const { response } = (egress ?? {}) as { response?: unknown };
    const ofResponse = this.#readCondition(response, [...path, 'egress', 'response'], shownId, 'response');
    const parsed = ruleSchema.safeParse(data);
    if (!parsed.success) return;
    for (const finding of checkRule(parsed.data, this.#context)) this.#reportFinding(finding, path, shownId);
    if (compiled === undefined) return;
    const findings = checkUses(parsed.data, compiled, this.#context.anchors);
    for (const finding of findings) this.#reportFinding(finding, path, shownId);
    // What is wrong inside egress.tls may not even compile.
    if (findings.some(({ severity }) => severity === 'error')) return;
    const draft = this.#draft(parsed.data, compiled, ofResponse, path);
    this.#loaded.push({ draft, source: this.#source, path });
  }

  #readCondition(
    text: unknown,
    path: readonly PathKey[],
    rule: string | undefined,
    action: unknown,
  ): Condition | undefined {
    const expansion = typeof text === 'string' ? this.#expand({ text, origin: path }, rule) : undefined;
    if (expansion === undefined) return undefined;
    const checked = checkCondition(expansion.text, action === 'response' ? 'response' : 'condition');
    if (checked.ok) {
      this.#reportFaults(expansion, lintCondition(checked.value.ast, action === 'block' ? 'block' : 'allow'), rule);
      return checked.value;
    }
    this.#reportFaults(expansion, checked.faults, rule);
    return undefined;
  }

  #expand(text: Text<readonly PathKey[]>, rule: string | undefined): Expansion<readonly PathKey[]> | undefined {
    const expansion = new Expansion(text, this.#definitions);
    const { fault } = expansion;
    if (fault === undefined) return expansion;
    this.#source.report(this.#source.offsetWithin(fault.origin, fault.offset), {
      ...{ message: fault.message, value: fault.value },
      ...(fault.fix === undefined ? {} : { fix: fault.fix }),
      ...(rule === undefined || fault.origin[0] === 'definitions' ? {} : { rule }),
    });
    return undefined;
  }

  #reportFaults(
    expansion: Expansion<readonly PathKey[]>,
    faults: readonly (Fault & { severity?: Problem['severity'] })[],
    rule: string | undefined,
  ): void {
    for (const fault of faults) {
      const { origin, offset } = expansion.locate(fault.start);
      const inDefinition = origin[0] === 'definitions';
      this.#source.report(this.#source.offsetWithin(origin, offset), {
        message: inDefinition ? `definition ${origin[1]}: ${fault.message}` : fault.message,
        severity: fault.severity ?? 'error',
        ...(fault.value === undefined ? {} : { value: shown(fault.value) }),
        ...(fault.fix === undefined ? {} : { fix: fault.fix }),
        ...(rule === undefined || inDefinition ? {} : { rule }),
      });
    }
  }

  #reportFinding(
    { severity, path, message, fix }: Finding,
    rulePath: readonly PathKey[],
    rule: string | undefined,
  ): void {
    const full = [...rulePath, ...path];
    const value = this.#source.written(full);
    this.#source.report(this.#source.offsetOf(full), {
      ...{ severity, message, fix },
      ...(value === undefined ? {} : { value }),
      ...(rule === undefined ? {} : { rule }),
    });
  }

  /** The daemon's audit is over what is written; its enforcing leaves that as it is. */
  #enforcementOf(rule: RuleInput): Enforcement {
    if (this.#context.enforcement === 'audit') return 'audit';
    return rule.enforcement ?? this.#defaults.enforcement ?? 'enforce';
  }

  #draft(rule: RuleInput, condition: Condition, response: Condition | undefined, path: readonly PathKey[]): RuleDraft {
    const { id, description = '', priority, action, log, egress } = rule;
    const tls = egress?.tls;
    const readsCertificate = action === 'allow' && condition.uses.values().some((name) => CERTIFICATE_NAMES.has(name));
    const match = tls || readsCertificate ? new TlsMatch(tls ?? {}, this.#pemOf, readsCertificate) : undefined;
    return {
      view: {
        ...{ id, file: this.file, line: this.lineOf(this.#source.offsetOf(path)), priority, description },
        ...{ condition: rule.condition, action, mode: action === 'block' ? null : (egress?.mode ?? 'proxy') },
        enforcement: this.#enforcementOf(rule),
      },
      ...{ condition, log, ports: egress?.ports, response },
      matchBody: egress?.match_body ?? false,
      allowPrivateIps: egress?.allow_private_ips ?? false,
      trustAnchors: (egress?.trust_anchors ?? []).map(this.#pemOf),
      tls: match?.matchesAnything === true ? match : undefined,
      tlsGrant: tls && tlsGrant(tls),
    };
  }

  readonly #pemOf = (file: string): string => this.#context.anchors.get(file) ?? '';
}
