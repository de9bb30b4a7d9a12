/**
 * What in one condition is right by the language and wrong by its meaning: literals that can never be equal to what
 * they are compared with, suffixes without a label boundary, headers that a block rule takes for granted.
 * In a block rule a comparison that is never true lets through what it names, so there it is an error (threat 7, 27).
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { canonicalHost } from '../domain/hostname.ts';
import { children, dottedPath, stringListLiteral, stringLiteral } from './cel-ast.ts';
import type { Fault } from './cel-compile.ts';
import { HOST_NAMES } from './names.ts';
import { fingerprintOf } from './tls-match.ts';

export interface ConditionFinding extends Fault {
  readonly severity: 'error' | 'warning';
}

/** RFC 9110 section 9.3, RFC 5789. */
const METHODS: ReadonlySet<string> = new Set([
  ...['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'],
]);

const TLS_VERSIONS: ReadonlySet<string> = new Set(['1.0', '1.1', '1.2', '1.3']);

const HEADER_MAPS: ReadonlySet<string> = new Set(['http.headers', 'http.response.headers']);

export function lintCondition(ast: ASTNode, action: 'allow' | 'block'): readonly ConditionFinding[] {
  const lint = new ConditionLint(action);
  lint.visit(ast);
  return lint.findings;
}

class ConditionLint {
  readonly findings: ConditionFinding[] = [];
  readonly #action: 'allow' | 'block';

  constructor(action: 'allow' | 'block') {
    this.#action = action;
  }

  visit(node: ASTNode): void {
    if (node.op === '==' || node.op === '!=') this.#equality(node.args[0], node.args[1]);
    if (node.op === 'in') this.#membership(node.args[0], node.args[1]);
    if (node.op === '[]' || node.op === '[?]') this.#headerName(node.args[0], node.args[1]);
    if (node.op === 'rcall' && node.args[0] === 'endsWith') this.#suffix(node, node.args[1], node.args[2][0]);
    if (node.op === 'rcall' && node.args[0] === 'matches') this.#pattern(node, node.args[1], node.args[2][0]);
    if (node.op === 'call' && node.args[0] === 'domain')
      this.#topLevel(node.args[1][1], stringLiteral(node.args[1][1]));
    if (this.#action === 'block') this.#missingHeader(node);
    // has(http.headers.x) asks and does not read.
    if (node.op === 'call' && node.args[0] === 'has') return;
    for (const child of children(node)) this.visit(child);
  }

  #equality(left: ASTNode, right: ASTNode): void {
    this.#literal(left, right);
    this.#literal(right, left);
  }

  #literal(named: ASTNode, literal: ASTNode): void {
    const text = stringLiteral(literal);
    const path = dottedPath(named);
    if (text === undefined || path === undefined) return;
    if (HOST_NAMES.has(path)) this.#hostText(literal, text);
    else if (path === 'http.method') this.#methodText(literal, text);
    else if (path === 'tls.version' && !TLS_VERSIONS.has(text))
      this.#never(literal, 'versions of TLS are written "1.3", "1.2", "1.1", "1.0"', undefined);
    else if (path === 'tls.cert.fingerprint_sha256' && fingerprintOf(text) !== text)
      this.#never(
        literal,
        'a fingerprint is 64 lower-case hex digits',
        fingerprintOf(text) && `"${fingerprintOf(text)}"`,
      );
  }

  #membership(item: ASTNode, list: ASTNode): void {
    this.#headerName(list, item);
    if (list.op === 'list' && stringListLiteral(list) !== undefined)
      for (const text of list.args) this.#literal(item, text);
  }

  #hostText(node: ASTNode, text: string): void {
    const host = canonicalHost(text);
    if (host === text || text === '') return;
    const fix = host ?? canonicalHost(text.replace(/^[*.]+/, ''));
    const wildcard = /^\*?\./.test(text) && fix !== undefined;
    this.#never(
      node,
      'no host is ever written like this',
      wildcard ? `domain(http.host, "${fix}")` : fix && `"${fix}"`,
    );
  }

  #methodText(node: ASTNode, text: string): void {
    const upper = text.toUpperCase();
    if (text !== upper && METHODS.has(upper)) this.#never(node, 'methods are upper-case', `"${upper}"`);
  }

  #headerName(map: ASTNode, key: ASTNode): void {
    const name = stringLiteral(key);
    const path = dottedPath(map);
    if (path === undefined || !HEADER_MAPS.has(path) || name === undefined || name === name.toLowerCase()) return;
    const call = path === 'http.headers' ? `, or http.header("${name}")` : '';
    this.#never(key, `names in ${path} are lower-case`, `"${name.toLowerCase()}"${call}`);
  }

  #suffix(node: ASTNode, text: ASTNode, end: ASTNode | undefined): void {
    const literal = stringLiteral(end);
    const path = dottedPath(text);
    if (literal === undefined || end === undefined || path === undefined || !HOST_NAMES.has(path)) return;
    if (literal !== literal.toLowerCase()) this.#never(end, 'hosts are lower-case', `"${literal.toLowerCase()}"`);
    if (literal.startsWith('.')) this.#topLevel(end, literal.slice(1));
    if (literal.startsWith('.') || literal === '') return;
    const message = `every name that ends so is meant, evil${literal} too`;
    this.#add(node, 'warning', message, `domain(${path}, "${literal}")`);
  }

  #topLevel(node: ASTNode | undefined, name: string | undefined): void {
    if (node === undefined || name === undefined || name === '' || name.includes('.')) return;
    if (this.#action === 'allow')
      this.#add(node, 'warning', `takes in all of the top-level domain ${name}`, 'name a domain in it');
  }

  #pattern(node: ASTNode, text: ASTNode, pattern: ASTNode | undefined): void {
    const literal = stringLiteral(pattern);
    const path = dottedPath(text);
    if (literal === undefined || path === undefined || !HOST_NAMES.has(path)) return;
    if (/^(?:\(\?[a-z]+\))?(?:\^|\\A)/.test(literal) && /(?:\$|\\z)$/.test(literal)) return;
    this.#add(
      node,
      'warning',
      'matches anywhere in the name, so in names of others too',
      'anchor it with ^ and $, or use domain()',
    );
  }

  /** An error in a block rule blocks, and a header that is not there is an error. */
  #missingHeader(node: ASTNode): void {
    const path = dottedPath(node);
    const key = path?.startsWith('http.headers.') ? path.slice('http.headers.'.length) : undefined;
    const index =
      node.op === '[]' && dottedPath(node.args[0]) === 'http.headers' ? stringLiteral(node.args[1]) : undefined;
    const name = key ?? index;
    if (name === undefined || this.#asksFor(node, name)) return;
    this.#add(node, 'warning', 'blocks every request without this header too', `http.header("${name}")`);
  }

  /** The condition mentions the header's presence somewhere; then its author knew. */
  #asksFor(node: ASTNode, name: string): boolean {
    return new RegExp(`has\\(\\s*http\\.headers|["']${RegExp.escape(name)}["']\\s+in\\s+http\\.headers`).test(
      node.input,
    );
  }

  #never(node: ASTNode, message: string, fix: string | undefined): void {
    this.#add(node, this.#action === 'block' ? 'error' : 'warning', `can never match: ${message}`, fix);
  }

  #add(node: ASTNode, severity: 'error' | 'warning', message: string, fix: string | undefined): void {
    const value = node.input.slice(node.start, node.end);
    this.findings.push({
      severity,
      start: node.start,
      end: node.end,
      message,
      value,
      ...(fix === undefined ? {} : { fix }),
    });
  }
}
