import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../../src/domain/record.ts';
import { loadRules } from '../../../src/policy/load.ts';
import { diffRules } from '../../../src/policy/rules-diff.ts';
import { type SuggestOptions, suggestRules } from '../../../src/policy/suggest.ts';
import { templatesOf } from '../../../src/policy/suggest-paths.ts';
import { aRecord } from '../audit/a-record.ts';
import { problemsOf, rulesOf } from './kit.ts';

const PUBLIC = '93.184.216.34';

function seen(fields: Partial<AuditRecord>): AuditRecord {
  return aRecord({ method: 'GET', path: '/', upstream: PUBLIC, agent: '', ...fields });
}

/** The suggested file, whose every warning it has told itself. */
function suggested(records: readonly AuditRecord[], options: SuggestOptions = {}): string {
  const { text } = suggestRules(records, options);
  for (const { message, severity } of problemsOf(text)) {
    expect(severity).toBe('warning');
    expect(text).toContain(`# CHECK: ${message}`);
  }
  return text;
}

/** What of these records the suggested rules would not allow. */
function refused(records: readonly AuditRecord[], others: readonly AuditRecord[]): readonly string[] {
  const rules = rulesOf(suggested(records));
  const nothing = rulesOf('version: "1"\nrules: []\n');
  const { changed, unclear } = diffRules(nothing, rules, others);
  const allowed = new Set(
    [...changed, ...unclear].filter(({ after }) => after.verdict !== 'block').map(({ record }) => record),
  );
  return others
    .filter((record) => !allowed.has(record))
    .map(({ method, host, path }) => `${method} ${host}${path ?? ''}`);
}

const patterns = (...paths: readonly string[]) => templatesOf(paths).map(({ pattern }) => pattern);

describe('templates of paths', () => {
  it.each([
    ['/v1/files/file_011CNha8iCJcU1wXNR6q4V8w', '/v1/files/file_*'],
    ['/v1/users/7/posts/12', '/v1/users/*/posts/*'],
    ['/a/0f8fad5b-d9cb-469f-a165-70867728950e/b', '/a/*/b'],
    ['/left-pad/-/left-pad-1.3.0.tgz', '/left-pad/-/left-pad-*.tgz'],
    ['/x/-/x-2.0.0-rc.1.tgz', '/x/-/x-*.tgz'],
    [
      '/packages/6f/bc/0a1b2c3d4e5f60718293a4b5c6d7e8f9/good-1.0-py3-none-any.whl',
      '/packages/*/*/*/good-*-py3-none-any.whl',
    ],
    ['/pool/main/c/curl/curl_7.88.1-10+deb12u5_amd64.deb', '/pool/main/c/curl/curl_*_amd64.deb'],
    ['/assets/index-BfX93kQ1.js', '/assets/index-*.js'],
    ['/blobs/sha256:9f86d081884c7d659a2feaa0c55ad015', '/blobs/sha256:*'],
    ['/objects/ab/cdef0123456789abcdef0123456789abcdef01', '/objects/*/*'],
    ['/reports/2026-11-05/summary', '/reports/*/summary'],
  ])('of %s have its ids, hashes, versions and dates open: %s', (path, pattern) => {
    expect(patterns(path)).toEqual([pattern]);
  });

  it.each([
    '/v1/messages',
    '/2/tweets',
    '/api/v1.2/containers',
    '/@good%2Fname',
    '/simple/requests/',
    '/node20/utf8',
    '/',
  ])('keep %s as it is', (path) => expect(patterns(path)).toEqual([path]));

  it('open a place where very many values were seen, and say so, and not one where there were some', () => {
    const many = Array.from({ length: 20 }, (_, i) => `/pkg${'abcdefghijklmnopqrst'[i]}`);
    expect(templatesOf(many)).toEqual([{ pattern: '/*', paths: many, widened: true }]);
    expect(patterns(...many.slice(0, 5))).toEqual(many.slice(0, 5));
    const tarballs = many.map((path) => `${path}/-${path}-1.0.0.tgz`.replace('-/', '-/'));
    expect(templatesOf(tarballs).map(({ widened }) => widened)).toEqual([true]);
  });
});

describe('suggested rules', () => {
  const session = [
    seen({ host: 'registry.test', path: '/left-pad' }),
    seen({ host: 'registry.test', path: '/left-pad/-/left-pad-1.3.0.tgz' }),
    seen({ host: 'git.test', path: '/project.git/info/refs?service=[redacted]' }),
    seen({ host: 'git.test', path: '/project.git/git-upload-pack', method: 'POST' }),
    seen({ host: 'api.test', path: '/v1/search?q=[redacted]&page=[redacted]' }),
    seen({ host: 'api.test', path: '/v1/files/8237' }),
  ];

  it('allow what was recorded, by intercepting it, and say how often each was seen', () => {
    expect(refused(session, session)).toEqual([]);
    const text = suggested([...session, ...session]);
    expect(text).toContain('egress: { mode: intercept, ports: [443] }');
    expect(text).toContain('// 2 requests, as /left-pad/-/left-pad-1.3.0.tgz');
  });

  it('refuse each of these requests with one thing changed: host, port, method, path, parameter', () => {
    const changed = [
      seen({ host: 'registry.test', path: '/right-pad' }),
      seen({ host: 'registry.test', path: '/left-pad', method: 'PUT' }),
      seen({ host: 'registry.test', path: '/left-pad', port: 8443 }),
      seen({ host: 'www.registry.test', path: '/left-pad' }),
      seen({ host: 'registry.test', path: '/left-pad/-/left-pad-1?x=1.tgz' }),
      seen({ host: 'git.test', path: '/project.git/git-receive-pack', method: 'POST' }),
      seen({ host: 'git.test', path: '/project.git/info/refs?service=git-receive-pack' }),
      seen({ host: 'api.test', path: '/v1/search?q=1&token=[redacted]' }),
      seen({ host: 'api.test', path: '/v1/files/8237?all=[redacted]' }),
      seen({ host: 'api.test', path: '/v1/files/8237/content' }),
    ];
    expect(refused(session, changed)).toHaveLength(changed.length);
  });

  it('fix the value of a parameter that was the same in every query, where values are recorded', () => {
    const logged = [seen({ path: '/list?kind=a&page=1' }), seen({ path: '/list?kind=a&page=2' })];
    expect(refused(logged, [...logged, seen({ path: '/list?kind=a&page=9' })])).toEqual([]);
    expect(refused(logged, [seen({ path: '/list?kind=b&page=1' })])).toHaveLength(1);
  });

  it('name methods together that ask for the same paths', () => {
    const text = suggested([seen({ path: '/a' }), seen({ path: '/a', method: 'HEAD' })]);
    expect(text).toContain('http.method in ["GET", "HEAD"]');
    expect(text).toContain('// 2 requests');
  });

  it('flag what is wider than the evidence, and nothing else', () => {
    expect(suggested(session)).not.toContain('CHECK');
    const tunnel = seen({
      event: 'flow',
      taken: 'tunnel',
      mode: 'proxy',
      host: 'github.com',
      path: null,
      method: 'CONNECT',
    });
    const wide = suggested([tunnel, seen({ path: '/x?[redacted]' }), seen({ host: 'in.test', upstream: '10.0.0.5' })]);
    expect(wide).toContain('# CHECK: the whole host: nothing was decrypted');
    expect(wide).toContain('# CHECK: allows all of github.com');
    expect(wide).toContain('# CHECK: any query of /x: the names in it are not recorded');
    expect(wide).toContain('# CHECK: its address 10.0.0.5 is not public');
  });

  it('decrypt a host of which some connections went through unread, and say so', () => {
    const tunnel = seen({ event: 'flow', taken: 'tunnel', mode: 'proxy', path: null, method: 'CONNECT' });
    const text = suggested([tunnel, seen({ path: '/a' })]);
    expect(text).toContain('# CHECK: 1 connection to it went through unread; now all of them are decrypted');
    expect(text.match(/- id:/g)).toHaveLength(1);
  });

  it('leave out what was refused, what never reached an origin, names that were only asked for, and cut paths', () => {
    const records = [
      seen({ path: '/ok' }),
      seen({ path: '/blocked', verdict: 'block', rule: 'default', reason: 'default' }),
      seen({ path: '/failed', verdict: 'failed', reason: 'dns_timeout', upstream: null }),
      seen({ path: `/long[cut]` }),
      seen({ event: 'query', host: 'asked.test', method: 'A', path: null, port: null }),
    ];
    const text = suggested(records);
    expect(text.split('\n', 1)[0]).toBe(
      '# Suggested from 1 record; left out: 1 refused, 1 failed, 1 with a path too long for a record',
    );
    expect(text).not.toMatch(/blocked|failed"|long\[|asked\.test/);
  });

  it('are for one agent alone where one is named, and otherwise for all', () => {
    const records = [seen({ agent: 'web-1', path: '/a' }), seen({ agent: 'web-2', path: '/b' })];
    const own = suggested(records, { agent: 'web-1' });
    expect(own).toContain('agent.name == "web-1"');
    expect(own).not.toContain('/b');
    expect(suggested(records)).not.toContain('agent.name');
  });

  it('are about what an audit run would have blocked, where only the missing ones are asked for', () => {
    const records = [seen({ path: '/known' }), seen({ path: '/new', rule: 'default', would_block: 'default' })];
    const text = suggested(records, { missing: true });
    expect(text).toContain('"/new"');
    expect(text).not.toContain('"/known"');
  });

  it('are as many as the cap on one condition asks for, each with an id of its own', () => {
    const paths = Array.from({ length: 100 }, (_, i) => '/x'.repeat(i + 1));
    const records = paths.map((path) => seen({ path }));
    const loaded = loadRules([{ file: 's.yaml', text: suggested(records) }], {
      caLoaded: true,
      generation: 0,
      anchors: new Map(),
    });
    expect(loaded.ok && loaded.rules.rules.length).toBeGreaterThan(1);
    expect(refused(records, records)).toEqual([]);
  });

  it('see plain HTTP without a CA where nothing was decrypted, and inside a CONNECT too where it was', () => {
    const plain = seen({ scheme: 'http', port: 80, taken: 'forward', mode: 'proxy', path: '/debian/x' });
    expect(suggested([plain])).toContain('http.scheme == "http"');
    expect(refused([plain], [plain])).toEqual([]);
    expect(suggested([plain, seen({ host: 'other.test' })])).not.toContain('http.scheme');
  });
});
