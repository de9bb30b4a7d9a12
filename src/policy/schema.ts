/**
 * The shape of a rule file, in zod: what validates files is also what the JSON Schema for editors is made from.
 * Each field's description and first example are what a problem tells the author to write.
 * Does not look inside conditions and knows nothing of other files or of the CA: see load.ts.
 */
import { z } from 'zod';
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
/** A name of a file beside the rules: no folders. */
const PEM_FILE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.pem$/;

const expression = z.string().max(MAX_CONDITION_CHARS);

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
  })
  .meta({ description: 'how allowed traffic leaves; only with action: allow', examples: [{ mode: 'proxy' }] });

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
    egress: egressSchema.optional(),
  })
  .meta({
    description: 'one rule; the first that matches decides',
    examples: ["{ id: …, condition: '…', action: allow }"],
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
  rules: z
    .array(ruleSchema)
    .max(MAX_RULES)
    .nullable()
    .optional()
    .meta({ description: 'the rules; none allow nothing', examples: [[]] }),
});

export type RuleInput = z.infer<typeof ruleSchema>;

/** Keys that the rule language has and this version does not act on, by the path of the mapping they stand in. */
export const UNSUPPORTED_KEYS: ReadonlyMap<string, readonly string[]> = new Map([
  ['', ['defaults']],
  ['rules.*', ['enforcement']],
  ['rules.*.egress', ['tls', 'response']],
]);
