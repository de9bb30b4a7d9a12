/**
 * The shape of a rule file, in zod: what validates files is also what the JSON Schema for editors is made from.
 * Each field's description and first example are what a problem tells the author to write.
 * Does not look inside conditions and knows nothing of other files or of the CA: see load.ts.
 */
import * as z from 'zod';
import { DEFINITION_NAME } from './definitions.ts';
import { MAX_CONDITION_CHARS, MAX_RULES } from './limits.ts';

const RULE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** Where a rule without a priority stands. Lower is earlier. */
const DEFAULT_PRIORITY = 100;
const MAX_PRIORITY = 1_000_000;
const MAX_DESCRIPTION_CHARS = 4_096;
const MAX_PORTS = 64;
const MAX_TRUST_ANCHORS = 16;
const MAX_PORT = 65_535;
/** Names or fingerprints of one matcher. */
const MAX_NAMES = 256;
/** Longer than any DNS name or fingerprint. */
const MAX_NAME_CHARS = 256;
const MAX_PATTERN_CHARS = 1_024;
/** A name of a file beside the rules: no folders. */
const PEM_FILE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.pem$/;

const expression = z.string().max(MAX_CONDITION_CHARS);

/** Exact names or a regular expression, for a name that TLS shows. */
const nameMatchSchema = z.strictObject({
  exact: z
    .array(z.string().min(1).max(MAX_NAME_CHARS))
    .min(1)
    .max(MAX_NAMES)
    .optional()
    .meta({ description: 'names, in any case', examples: [['api.example.com']] }),
  regex: z
    .string()
    .min(1)
    .max(MAX_PATTERN_CHARS)
    .optional()
    .meta({ description: 'RE2 that the whole name must match, in any case', examples: ['.*\\.example\\.com'] }),
});

const EXAMPLE_MATCH = { exact: ['api.example.com'] };
const DENY_OR_ALLOW = z.enum(['deny', 'allow']);

const tlsSchema = z.strictObject({
  sni: nameMatchSchema
    .optional()
    .meta({ description: 'the server name in the ClientHello', examples: [EXAMPLE_MATCH] }),
  server_san: nameMatchSchema
    .optional()
    .meta({ description: "a subject alternative name of the server's certificate", examples: [EXAMPLE_MATCH] }),
  server_cn: nameMatchSchema
    .optional()
    .meta({ description: "the common name of the server's certificate", examples: [EXAMPLE_MATCH] }),
  fingerprint_sha256: z
    .array(z.string().min(1).max(MAX_NAME_CHARS))
    .min(1)
    .max(MAX_NAMES)
    .optional()
    .meta({
      description: 'SHA-256 of the DER certificate, 64 hex digits; colons, spaces and case do not matter',
      examples: [['ab:cd:…']],
    }),
  trust_anchors: z
    .array(z.string().regex(PEM_FILE))
    .min(1)
    .max(MAX_TRUST_ANCHORS)
    .optional()
    .meta({
      description: "PEM files beside the rules, in place of the system's roots",
      examples: [['corp-ca.pem']],
    }),
  tls13_uninspectable: z
    .enum(['probe', 'deny', 'allow'])
    .optional()
    .meta({
      description: 'where TLS 1.3 hides the certificate. probe, the default: ask the server for it first',
      examples: ['probe', 'deny', 'allow'],
    }),
  sni_absent: DENY_OR_ALLOW.optional().meta({
    description: 'a ClientHello that names no server; deny is the default',
    examples: ['allow', 'deny'],
  }),
  ech: DENY_OR_ALLOW.optional().meta({
    description: 'a ClientHello whose real server name is encrypted; deny is the default',
    examples: ['allow', 'deny'],
  }),
});

const egressSchema = z
  .strictObject({
    mode: z
      .enum(['proxy', 'direct_ip', 'intercept'])
      .default('proxy')
      .meta({
        description:
          'proxy: a tunnel that is not decrypted; intercept: decrypt and decide each request; direct_ip: another protocol',
        examples: ['proxy', 'direct_ip', 'intercept'],
      }),
    ports: z
      .array(z.int().min(1).max(MAX_PORT))
      .min(1)
      .max(MAX_PORTS)
      .optional()
      .meta({ description: 'ports that this rule is for; without it, any port', examples: [[443]] }),
    allow_private_ips: z
      .boolean()
      .default(false)
      .meta({
        description: 'the host may resolve to a private address',
        examples: [true, false],
      }),
    match_body: z
      .boolean()
      .default(false)
      .meta({
        description: 'read the body, up to the cap, before deciding; intercept only',
        examples: [true, false],
      }),
    trust_anchors: z
      .array(z.string().regex(PEM_FILE))
      .min(1)
      .max(MAX_TRUST_ANCHORS)
      .optional()
      .meta({ description: 'PEM files beside the rules: extra roots for the origin', examples: [['corp-ca.pem']] }),
    tls: tlsSchema.optional().meta({
      description: 'what the TLS handshake must show; mode: proxy only',
      examples: [{ sni: EXAMPLE_MATCH }],
    }),
    response: expression.optional().meta({
      description: 'CEL that must be true for the response; intercept only',
      examples: ['http.response.status < 400'],
    }),
  })
  .meta({ description: 'how allowed traffic leaves; only with action: allow', examples: [{ mode: 'proxy' }] });

const ENFORCEMENT = z.enum(['enforce', 'audit']);

export const ruleSchema = z
  .strictObject({
    id: z
      .string()
      .regex(RULE_ID)
      .meta({
        description: 'letters, digits and ". _ -", at most 128, unique among all rules',
        examples: ['messages-only'],
      }),
    description: z
      .string()
      .max(MAX_DESCRIPTION_CHARS)
      .optional()
      .meta({ description: 'free text', examples: ['why it is there'] }),
    priority: z
      .int()
      .min(-MAX_PRIORITY)
      .max(MAX_PRIORITY)
      .default(DEFAULT_PRIORITY)
      .meta({
        description: 'lower is earlier; then file name, then place in the file',
        examples: [100],
      }),
    condition: expression.meta({
      description: 'CEL that is true for what the rule is about; $name stands for a definition',
      examples: ['http.host == "api.example.com"'],
    }),
    action: z.enum(['allow', 'block']).meta({ description: 'what a match means', examples: ['allow', 'block'] }),
    log: z
      .boolean()
      .default(true)
      .meta({ description: 'false: no record when this rule decides', examples: [true, false] }),
    enforcement: ENFORCEMENT.optional().meta({
      description: 'audit: what the rule would block is recorded and let through',
      examples: ['audit', 'enforce'],
    }),
    egress: egressSchema.optional(),
  })
  .meta({
    description: 'one rule; the first that matches decides',
    examples: ["{ id: …, condition: '…', action: allow }"],
  });

export const defaultsSchema = z.strictObject({
  enforcement: ENFORCEMENT.optional().meta({
    description: 'of the rules in this file, and of what no rule allows',
    examples: ['audit', 'enforce'],
  }),
  unmatched: z
    .enum(['tunnel', 'intercept'])
    .optional()
    .meta({
      description: 'in audit, how what no rule allows is let through',
      examples: ['tunnel', 'intercept'],
    }),
});

export const fileSchema = z.strictObject({
  version: z.literal('1').meta({ description: 'version of the rule language, a string', examples: ['1'] }),
  definitions: z
    .record(z.string().regex(DEFINITION_NAME), expression)
    .nullable()
    .optional()
    .meta({
      description: 'expressions to use as $name in conditions of this file',
      examples: [{ name: 'http.host == "example.com"' }],
    }),
  defaults: defaultsSchema.optional().meta({ description: 'for the whole file', examples: [{ enforcement: 'audit' }] }),
  rules: z
    .array(ruleSchema)
    .max(MAX_RULES)
    .nullable()
    .optional()
    .meta({ description: 'the rules; none allow nothing', examples: [[]] }),
});

export type RuleInput = z.infer<typeof ruleSchema>;
export type TlsInput = z.infer<typeof tlsSchema>;
export type DefaultsInput = z.infer<typeof defaultsSchema>;
