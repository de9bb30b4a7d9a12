/**
 * /v1/ca: what the CA is, and its changes. Never takes or gives a key: one that is uploaded has a connection of its own, which
 * ca-upload.ts hands on (threats row 35).
 */
import { X509Certificate } from 'node:crypto';
import { ADMIN_PATHS, CA_UPLOAD_PROTOCOL, type CaChange } from '../domain/admin-api.ts';
import { canonicalHost, isAddress } from '../domain/hostname.ts';
import { AdminProblem } from './problem.ts';
import { parseJson } from './request.ts';
import { type Asked, FLAG, JSON_TYPE, json, type Route, sendJson } from './route.ts';

/** RFC 8555 section 9.1; RFC 2585 section 3. */
const PEM_TYPE = 'application/pem-certificate-chain';
const DER_TYPE = 'application/pkix-cert';
/** A constrained CA is for a handful of domains. */
const MAX_DOMAINS = 64;
const MAX_DOMAIN_CHARS = 253;
const MAX_BODY_BYTES = 65_536;
const PARTS = ['all', 'next', 'previous'] as const;

const NOT_NOW = 'not as things stand: the detail says what is in the way';

export const CA_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: ADMIN_PATHS.ca,
    id: 'getCa',
    summary: 'The CA that intercepted hosts are signed with, the next one and the one before',
    answers: [json('Ca', 'what is public of them')],
    handle: async ({ backend, response }) => sendJson(response, 200, await backend.ca()),
  },
  {
    method: 'POST',
    path: ADMIN_PATHS.ca,
    id: 'generateCa',
    summary: 'Make a CA: the first one signs at once, another is the next one',
    body: {
      types: [JSON_TYPE],
      maxBytes: MAX_BODY_BYTES,
      schema: {
        type: 'object',
        properties: {
          algorithm: { enum: ['rsa', 'ecdsa'], default: 'rsa' },
          permit_domains: {
            type: 'array',
            maxItems: MAX_DOMAINS,
            items: { type: 'string', maxLength: MAX_DOMAIN_CHARS },
          },
        },
        additionalProperties: false,
      },
    },
    answers: [json('Ca', 'the CAs as they are now')],
    problems: { 409: NOT_NOW, 422: 'its folder cannot be written' },
    handle: (asked) => change(asked, generate(asked.body)),
  },
  {
    method: 'DELETE',
    path: ADMIN_PATHS.ca,
    id: 'deleteCa',
    summary: 'Take away the next CA, the one before, or all',
    query: [
      { name: 'which', description: 'what to delete', required: true, schema: { type: 'string', enum: PARTS } },
      {
        name: 'force',
        description: '1: although rules intercept; their hosts are refused then',
        schema: FLAG,
      },
    ],
    answers: [json('Ca', 'the CAs as they are now')],
    problems: { 404: 'there is none', 409: NOT_NOW },
    handle: (asked) => {
      const which = PARTS.find((part) => part === asked.query.get('which')) ?? 'next';
      return change(asked, { kind: 'delete', which, force: asked.query.get('force') === '1' });
    },
  },
  {
    method: 'POST',
    path: ADMIN_PATHS.caRotate,
    id: 'rotateCa',
    summary: 'Sign with the next CA; the one before stays in the bundle until it is deleted',
    query: [
      {
        name: 'force',
        description: '1: although agents do not trust it yet; TLS that is intercepted fails for them',
        schema: FLAG,
      },
    ],
    answers: [json('Ca', 'the CAs as they are now')],
    problems: { 409: NOT_NOW },
    handle: (asked) => change(asked, { kind: 'rotate', force: asked.query.get('force') === '1' }),
  },
  {
    method: 'POST',
    path: ADMIN_PATHS.caUpload,
    id: 'uploadCa',
    summary: `Bring a CA with its key: by \`Upgrade: ${CA_UPLOAD_PROTOCOL}\`, on the Unix socket alone`,
    answers: [json('Ca', 'after 101 and all of the PEM, without a head of its own: the CAs as they are now')],
    problems: { 426: 'without the upgrade, or over TCP' },
    handle: () => {
      const words = `a key is sent after the answer 101 to "Upgrade: ${CA_UPLOAD_PROTOCOL}", on the Unix socket alone`;
      throw new AdminProblem(426, `${words}: use outcall ca upload`);
    },
  },
  {
    method: 'GET',
    path: ADMIN_PATHS.caBundle,
    id: 'getCaBundle',
    summary: 'What containers are to trust',
    query: [
      {
        name: 'form',
        description: 'pem: all certificates; der: that of the CA that signs',
        schema: { type: 'string', enum: ['pem', 'der'] },
      },
    ],
    answers: [{ status: 200, description: 'PEM, or DER', type: PEM_TYPE }],
    problems: { 404: 'there is no CA' },
    handle: sendBundle,
  },
];

async function change({ backend, response }: Asked, asked: CaChange): Promise<void> {
  const outcome = await backend.changeCa(asked);
  if (!outcome.ok) throw new AdminProblem(outcome.status, outcome.detail);
  sendJson(response, 200, outcome.answer);
}

/** `text`: JSON, or nothing for a CA as it usually is. Throws 400. */
function generate(text: string): CaChange {
  const value = text === '' ? {} : parseJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong('the body is no JSON object');
  const { algorithm = 'rsa', permit_domains: domains = [], ...rest } = value as Record<string, unknown>;
  const [stranger] = Object.keys(rest);
  if (stranger !== undefined) throw wrong(`${JSON.stringify(stranger)} is not "algorithm" or "permit_domains"`);
  if (algorithm !== 'rsa' && algorithm !== 'ecdsa') throw wrong('"algorithm" is neither "rsa" nor "ecdsa"');
  if (!Array.isArray(domains) || domains.length > MAX_DOMAINS) {
    throw wrong(`"permit_domains" is no list of at most ${MAX_DOMAINS} names`);
  }
  const bad: unknown = domains.find((domain) => !isDomain(domain));
  if (bad !== undefined) throw wrong(`${JSON.stringify(bad)} is no domain name in lower case, as "api.example.com"`);
  return { kind: 'generate', algorithm, permitDomains: domains as readonly string[] };
}

function isDomain(value: unknown): boolean {
  if (typeof value !== 'string') return false;
  const host = canonicalHost(value);
  return host !== undefined && host === value && !isAddress(host);
}

function wrong(detail: string): AdminProblem {
  return new AdminProblem(400, detail);
}

function sendBundle({ backend, query, response }: Asked): void {
  const certificates = backend.caCertificates();
  const [current] = certificates;
  if (current === undefined) {
    throw new AdminProblem(404, 'there is no CA; make one with outcall ca generate, or start outcalld with --ca-cert');
  }
  if (query.get('form') === 'der') {
    response.writeHead(200, { 'Content-Type': DER_TYPE }).end(new X509Certificate(current).raw);
  } else {
    response.writeHead(200, { 'Content-Type': PEM_TYPE }).end(certificates.map((pem) => `${pem.trimEnd()}\n`).join(''));
  }
}
