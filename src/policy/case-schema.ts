/**
 * The shape of a file of cases, in zod. Each field's description and first example are what a problem tells its author to
 * write. What belongs together is cases.ts's to say.
 */
import * as z from 'zod';

const MAX_CASES = 10_000;
const MAX_NAME_CHARS = 200;
/** RFC 9110 section 5.6.2, then an absolute URI. */
export const REQUEST = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (https?):\/\/([^/?#\s]+)(\/\S*)?$/;

export const agentSchema = z
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

const headersSchema = z
  .record(z.string(), z.union([z.string(), z.array(z.string())]))
  .meta({ description: 'header fields', examples: [{ 'content-type': 'application/json' }] });

const tlsSchema = z
  .strictObject({
    sni: z
      .string()
      .optional()
      .meta({ description: 'server name; the host where it is left out', examples: ['api.example.com'] }),
    version: z
      .enum(['1.0', '1.1', '1.2', '1.3'])
      .default('1.3')
      .meta({ description: 'the highest offered', examples: ['1.3'] }),
    alpn: z
      .array(z.string())
      .default([])
      .meta({ description: 'protocols offered', examples: [['h2', 'http/1.1']] }),
  })
  .meta({ description: 'what the ClientHello offers', examples: [{ version: '1.2' }] });

const certificateSchema = z
  .strictObject({
    valid: z
      .boolean()
      .default(true)
      .meta({ description: 'chain, dates and name hold', examples: [true, false] }),
    subject_cn: z
      .string()
      .default('')
      .meta({ description: 'common name of the subject', examples: ['api.example.com'] }),
    san: z
      .array(z.string())
      .default([])
      .meta({ description: 'its names and addresses', examples: [['api.example.com']] }),
    issuer_cn: z
      .string()
      .default('')
      .meta({ description: 'common name of the issuer', examples: ['Example CA'] }),
    fingerprint_sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .default('0'.repeat(64))
      .meta({ description: '64 hex digits in lower case', examples: ['ab…'] }),
    not_after: z.iso
      .datetime()
      .default('9999-12-31T23:59:59Z')
      .meta({ description: 'in UTC', examples: ['2027-01-01T00:00:00Z'] }),
  })
  .nullable()
  .meta({
    description: "the server's certificate; null where none can be seen",
    examples: [{ san: ['api.example.com'] }],
  });

const responseSchema = z
  .strictObject({
    status: z
      .int()
      .min(200)
      .max(599)
      .meta({ description: 'status of the answer', examples: [200] }),
    headers: headersSchema.optional(),
  })
  .meta({ description: "the origin's answer", examples: [{ status: 200 }] });

const questionShape = {
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
  headers: headersSchema.optional(),
  body: z
    .string()
    .optional()
    .meta({ description: 'the body of the request', examples: ['text'] }),
  tls: tlsSchema.optional(),
  certificate: certificateSchema.optional(),
  response: responseSchema.optional(),
};

/** What POST /v1/rules/explain takes: a case that expects nothing. */
export const questionSchema = z
  .strictObject(questionShape)
  .meta({ description: 'what is asked', examples: ["{ request: 'GET https://example.com/' }"] });

const caseSchema = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(MAX_NAME_CHARS)
      .meta({ description: 'what the case shows', examples: ['messages go out'] }),
    ...questionShape,
    expect: z.enum(['allow', 'block']).meta({ description: 'the verdict', examples: ['allow', 'block'] }),
    rule: z
      .string()
      .optional()
      .meta({ description: 'the id of the rule that must decide, or default', examples: ['messages-only'] }),
    mode: z
      .enum(['proxy', 'direct_ip', 'intercept'])
      .optional()
      .meta({ description: 'the mode it must be allowed in', examples: ['intercept'] }),
    would_block: z
      .string()
      .optional()
      .meta({
        description: 'in audit: the id of the rule that would have blocked it, or default',
        examples: ['default'],
      }),
  })
  .meta({
    description: 'one question and its answer',
    examples: ["{ name: …, request: 'GET https://example.com/', expect: allow }"],
  });

export const casesSchema = z.strictObject({
  version: z.literal('1').meta({ description: 'version of the rule language, a string', examples: ['1'] }),
  agent: agentSchema.optional(),
  cases: z
    .array(caseSchema)
    .min(1)
    .max(MAX_CASES)
    .meta({ description: 'the cases', examples: [[]] }),
});

export type QuestionInput = z.infer<typeof questionSchema>;
export type CaseInput = z.infer<typeof caseSchema>;
export type AgentInput = z.infer<typeof agentSchema>;
export type CertificateInput = NonNullable<z.infer<typeof certificateSchema>>;
export type HeadersInput = z.infer<typeof headersSchema>;
