/**
 * Files of cases for `outcall rules test`: what is asked, and what the rules must answer. Strict as rule files are, with
 * every problem at its line. Decides nothing: see case-run.ts. Never read by the daemon.
 */
import { z } from 'zod';
import { canonicalHost, type Host } from '../domain/hostname.ts';
import type { Asked } from './explain.ts';
import type { RuleSource } from './load.ts';
import { type Problem, shown } from './problem.ts';
import { reportIssues } from './schema-problems.ts';
import { type PathKey, YamlSource } from './yaml-source.ts';

const MAX_CASES = 10_000;
const MAX_NAME_CHARS = 200;
const MAX_PORT = 65_535;
const DEFAULT_PORTS = { http: 80, https: 443 } as const;
/** RFC 9110 section 5.6.2, then an absolute URI. */
const REQUEST = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (https?):\/\/([^/?#\s]+)(\/\S*)?$/;
const RECORD_TYPE = /^[A-Z][A-Z0-9]{0,15}$/;

const agentSchema = z
  .strictObject({
    name: z
      .string()
      .default('')
      .meta({ description: "the container's name", examples: ['web-1'] }),
    image: z
      .string()
      .default('')
      .meta({ description: 'its image', examples: ['node:24'] }),
    labels: z
      .record(z.string(), z.string())
      .default({})
      .meta({ description: 'its labels, as text', examples: [{ team: 'red' }] }),
    ip: z
      .string()
      .default('192.0.2.1')
      .meta({ description: 'its address', examples: ['10.203.0.7'] }),
  })
  .meta({ description: 'who asks; without it, an agent of which nothing is known', examples: [{ name: 'web-1' }] });

const caseSchema = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(MAX_NAME_CHARS)
      .meta({ description: 'what the case shows', examples: ['messages go out'] }),
    request: z
      .string()
      .regex(REQUEST)
      .optional()
      .meta({ description: 'a method and a URL', examples: ['POST https://api.example.com/v1/messages'] }),
    connect: z
      .string()
      .optional()
      .meta({
        description: 'a host and a port, with nothing known of what is inside',
        examples: ['api.example.com:443'],
      }),
    dns: z
      .string()
      .optional()
      .meta({ description: 'a name and a record type', examples: ['api.example.com A'] }),
    agent: agentSchema.optional(),
    headers: z
      .record(z.string(), z.union([z.string(), z.array(z.string())]))
      .optional()
      .meta({ description: 'header fields of the request', examples: [{ 'content-type': 'application/json' }] }),
    body: z
      .string()
      .optional()
      .meta({ description: 'the body of the request', examples: ['text'] }),
    expect: z.enum(['allow', 'block']).meta({ description: 'the verdict', examples: ['allow', 'block'] }),
    rule: z
      .string()
      .optional()
      .meta({ description: 'the id of the rule that must decide, or default', examples: ['messages-only'] }),
    mode: z
      .enum(['proxy', 'direct_ip', 'intercept'])
      .optional()
      .meta({ description: 'the mode it must be allowed in', examples: ['intercept'] }),
  })
  .meta({
    description: 'one question and its answer',
    examples: ["{ name: …, request: 'GET https://example.com/', expect: allow }"],
  });

const casesSchema = z.strictObject({
  version: z.literal('1').meta({ description: 'version of the rule language, a string', examples: ['1'] }),
  agent: agentSchema.optional(),
  cases: z
    .array(caseSchema)
    .min(1)
    .max(MAX_CASES)
    .meta({ description: 'the cases', examples: [[]] }),
});

type CaseInput = z.infer<typeof caseSchema>;

export interface RuleCase {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly asked: Asked;
  readonly expect: 'allow' | 'block';
  /** undefined: whichever. */
  readonly rule: string | undefined;
  readonly mode: CaseInput['mode'];
}

export interface ReadCases {
  /** Not to be run where there are problems. */
  readonly cases: readonly RuleCase[];
  readonly problems: readonly Problem[];
}

/** How the doors spell a target before a rule sees it; what they refuse is no case for rules. */
export type ReadTarget = (
  target: string,
) => { readonly ok: true; readonly value: string } | { readonly ok: false; readonly detail: string };

export function readCases(source: RuleSource, readTarget: ReadTarget): ReadCases {
  const yaml = new YamlSource(source.file, source.text);
  if (yaml.isEmpty) yaml.report(0, { message: 'the file is empty', fix: 'version: "1" with cases:' });
  const parsed = yaml.data === undefined ? undefined : casesSchema.safeParse(yaml.data);
  if (parsed?.success === false) reportIssues(yaml, parsed.error.issues, { schema: casesSchema, item: 'a case' });
  if (parsed?.success !== true) return { cases: [], problems: yaml.problems };
  const agent = agentSchema.parse(parsed.data.agent ?? {});
  const cases = parsed.data.cases.map((input, i) => new CaseReader(yaml, ['cases', i], readTarget).read(input, agent));
  return { cases: cases.filter((one) => one !== undefined), problems: yaml.problems };
}

type Agent = z.infer<typeof agentSchema>;
type Question = Omit<Asked, 'agent'>;

class CaseReader {
  readonly #source: YamlSource;
  readonly #path: readonly PathKey[];
  readonly #readTarget: ReadTarget;

  constructor(source: YamlSource, path: readonly PathKey[], readTarget: ReadTarget) {
    this.#source = source;
    this.#path = path;
    this.#readTarget = readTarget;
  }

  read(input: CaseInput, agent: Agent): RuleCase | undefined {
    const { name, expect, rule, mode } = input;
    const question = this.#question(input);
    if (expect === 'block' && mode !== undefined)
      this.#report(['mode'], 'what is blocked has no mode', 'remove mode, or expect: allow');
    if (question === undefined) return undefined;
    const { line } = this.#source.position(this.#source.offsetOf(this.#path));
    const asked = { ...question, agent: input.agent ?? agent };
    return { name, file: this.#source.file, line, asked, expect, rule, mode };
  }

  #question(input: CaseInput): Question | undefined {
    const given = [input.request, input.connect, input.dns].filter((one) => one !== undefined);
    if (given.length !== 1)
      return this.#report([], 'a case asks one thing', 'request: GET https://example.com/, or connect:, or dns:');
    if (input.request === undefined && (input.headers !== undefined || input.body !== undefined))
      this.#report(
        [input.headers === undefined ? 'body' : 'headers'],
        'only a request has headers and a body',
        'use request:',
      );
    if (input.request !== undefined) return this.#request(input.request, input);
    return input.connect === undefined ? this.#name(input.dns as string) : this.#connect(input.connect, ['connect']);
  }

  #request(text: string, { headers, body = '' }: CaseInput): Question | undefined {
    const [, method, scheme, authority, target = '/'] = REQUEST.exec(text) as unknown as [
      string,
      string,
      'http' | 'https',
      string,
      string?,
    ];
    const withPort = /:[0-9]+$/.test(authority) ? authority : `${authority}:${DEFAULT_PORTS[scheme]}`;
    const connection = this.#connect(withPort, ['request']);
    const read = this.#readTarget(target);
    if (!read.ok) {
      return this.#report(
        ['request'],
        `refused before any rule is asked: ${read.detail}`,
        'only what rules see can be a case',
      );
    }
    const fields = Object.entries(headers ?? {}).flatMap(([name, values]) =>
      [values].flat().flatMap((value) => [name, value]),
    );
    const request = { scheme, method, target: read.value, headers: fields, body, bodySize: Buffer.byteLength(body) };
    return connection === undefined ? undefined : { ...connection, request };
  }

  #connect(text: string, path: readonly PathKey[]): Question | undefined {
    const [, name = '', port = ''] = /^(.*):([0-9]{1,5})$/.exec(text) ?? [];
    const host = this.#host(name, path);
    const number = Number(port);
    if (number >= 1 && number <= MAX_PORT) return host === undefined ? undefined : { host, port: number };
    return this.#report(path, 'not a host and a port', 'api.example.com:443');
  }

  #name(text: string): Question | undefined {
    const [name = '', recordType = 'A', ...rest] = text.split(' ');
    const host = this.#host(name, ['dns']);
    if (!RECORD_TYPE.test(recordType) || rest.length > 0)
      return this.#report(['dns'], 'not a name and a record type', 'api.example.com A');
    return host === undefined ? undefined : { host, recordType };
  }

  #host(text: string, path: readonly PathKey[]): Host | undefined {
    return canonicalHost(text) ?? this.#report(path, 'not a host name or address', 'api.example.com');
  }

  #report(path: readonly PathKey[], message: string, fix: string): undefined {
    const full = [...this.#path, ...path];
    const value = this.#source.written(full);
    this.#source.report(this.#source.offsetOf(full), {
      message,
      fix,
      ...(value === undefined ? {} : { value: shown(value) }),
    });
  }
}
