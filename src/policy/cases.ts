/**
 * Files of cases for `outcall rules test`: what is asked, and what the rules must answer. Strict as rule files are, with
 * every problem at its line; and single questions in the same words, for the admin API. Decides nothing: see case-run.ts.
 */
import type { CertificateFacts } from '../domain/facts.ts';
import { canonicalHost, type Host, isAddress } from '../domain/hostname.ts';
import {
  type AgentInput,
  agentSchema,
  type CaseInput,
  type CertificateInput,
  casesSchema,
  type HeadersInput,
  type QuestionInput,
  questionSchema,
  REQUEST,
} from './case-schema.ts';
import type { Asked } from './explain.ts';
import type { RuleSource } from './load.ts';
import { type Problem, shown } from './problem.ts';
import { reportIssues } from './schema-problems.ts';
import { type PathKey, YamlSource } from './yaml-source.ts';

const MAX_PORT = 65_535;
const DEFAULT_PORTS = { http: 80, https: 443 } as const;
const RECORD_TYPE = /^[A-Z][A-Z0-9]{0,15}$/;

export interface RuleCase {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly asked: Asked;
  readonly expect: 'allow' | 'block';
  /** undefined: whichever. */
  readonly rule: string | undefined;
  readonly mode: CaseInput['mode'];
  readonly wouldBlock: string | undefined;
  /** Its certificate holds under every root that a rule asks for. */
  readonly trusted: boolean;
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

/** One question, in YAML or JSON, as a case would ask it. */
export function readQuestion(
  source: RuleSource,
  readTarget: ReadTarget,
): { readonly asked: Asked | undefined; readonly problems: readonly Problem[] } {
  const yaml = new YamlSource(source.file, source.text);
  if (yaml.isEmpty) yaml.report(0, { message: 'nothing is asked', fix: '{ "request": "GET https://example.com/" }' });
  const parsed = yaml.data === undefined || yaml.isEmpty ? undefined : questionSchema.safeParse(yaml.data);
  const kind = { schema: questionSchema, item: 'a question' };
  if (parsed?.success === false) reportIssues(yaml, parsed.error.issues, kind);
  if (parsed?.success !== true) return { asked: undefined, problems: yaml.problems };
  const asked = new CaseReader(yaml, [], readTarget).asked(parsed.data, agentSchema.parse({}));
  return { asked: yaml.problems.length === 0 ? asked : undefined, problems: yaml.problems };
}

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

  read(input: CaseInput, agent: AgentInput): RuleCase | undefined {
    const { name, expect, rule, mode, would_block: wouldBlock } = input;
    const asked = this.asked(input, agent);
    if (expect === 'block' && mode !== undefined)
      this.#report(['mode'], 'what is blocked has no mode', 'remove mode, or expect: allow');
    if (asked === undefined) return undefined;
    const { line } = this.#source.position(this.#source.offsetOf(this.#path));
    const trusted = input.certificate?.valid === true;
    return { name, file: this.#source.file, line, asked, expect, rule, mode, wouldBlock, trusted };
  }

  asked(input: QuestionInput, agent: AgentInput): Asked | undefined {
    const question = this.#question(input);
    return question && { ...question, ...seenOf(input, question.host), agent: input.agent ?? agent };
  }

  #question(input: QuestionInput): Question | undefined {
    const given = [input.request, input.connect, input.dns].filter((one) => one !== undefined);
    if (given.length !== 1)
      return this.#report(
        [],
        'one thing is asked at a time',
        'request: GET https://example.com/, or connect:, or dns:',
      );
    if (input.request === undefined && (input.headers !== undefined || input.body !== undefined))
      this.#report(
        [input.headers === undefined ? 'body' : 'headers'],
        'only a request has headers and a body',
        'use request:',
      );
    if (input.request === undefined && input.response !== undefined)
      this.#report(['response'], 'only a request has an answer', 'use request:');
    if (input.tls === undefined && input.certificate !== undefined)
      this.#report(['certificate'], 'a certificate is looked at after a ClientHello', 'add tls: {}');
    if (input.request !== undefined) return this.#request(input.request, input);
    return input.connect === undefined ? this.#name(input.dns as string) : this.#connect(input.connect, ['connect']);
  }

  #request(text: string, { headers, body = '' }: QuestionInput): Question | undefined {
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
    const fields = fieldsOf(headers);
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

/** What was seen of TLS and of the answer; names as the doors spell them. */
function seenOf(
  { tls, certificate, response }: QuestionInput,
  host: Host,
): Pick<Asked, 'tls' | 'certificate' | 'response'> {
  return {
    ...(tls === undefined ? {} : { tls: { ...tls, sni: tls.sni ?? (isAddress(host) ? '' : host) } }),
    ...(certificate === undefined ? {} : { certificate: certificate === null ? null : certificateOf(certificate) }),
    ...(response === undefined ? {} : { response: { status: response.status, headers: fieldsOf(response.headers) } }),
  };
}

function certificateOf(input: CertificateInput): CertificateFacts {
  const { subject_cn: subjectCn, issuer_cn: issuerCn, fingerprint_sha256: fingerprintSha256, san } = input;
  const notAfter = Date.parse(input.not_after);
  return { subjectCn, issuerCn, fingerprintSha256, san, notAfter, validUnder: [] };
}

function fieldsOf(headers: HeadersInput | undefined): readonly string[] {
  return Object.entries(headers ?? {}).flatMap(([name, values]) => [values].flat().flatMap((value) => [name, value]));
}
