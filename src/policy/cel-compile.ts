/**
 * A checked syntax tree to a closure, in three values: a Reader gives a value, an error, or undefined for "unknown".
 * Unknown spreads through everything but `&&`, `||`, quantifiers and lazy branches (Kleene's logic), so has(), `in` and
 * `.?` on an unknown are unknown too. Does not check types (cel-check.ts) and knows no names of its own.
 * Upholds: threats 28 (errors are values that cannot be lost), 31 (every loop is charged).
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { countNodes, dottedPath, isBind, isComprehension, stringListLiteral, stringLiteral } from './cel-ast.ts';
import { comprehension, logical, orElse, quantifier, ternary } from './cel-control.ts';
import {
  BINARY_METHODS,
  BINARY_OPERATIONS,
  FUNCTIONS,
  indexInto,
  negate,
  noOverload,
  TERNARY_METHODS,
  UNARY_METHODS,
} from './cel-functions.ts';
import { allKnown, equalsText, inTexts, optionalIndex, strict, strict2, strict3 } from './cel-strict.ts';
import {
  type Budget,
  CelError,
  isList,
  isMap,
  type Known,
  mapGet,
  Optional,
  OUT_OF_BUDGET,
  type Value,
} from './cel-value.ts';
import { type Matcher, regexMatcher } from './matchers.ts';

export type Reader<F extends Budget> = (frame: F) => Value;

/** A place in a condition, and what is wrong there. Offsets count characters of the condition. */
export interface Fault {
  readonly start: number;
  readonly end: number;
  readonly message: string;
  readonly value?: string;
  readonly fix?: string;
}

/** The names and calls that a condition may use beside the language itself. */
export interface Scope<F extends Budget> {
  /** Reads a dotted name such as `http.method`. */
  name(path: string): Reader<F> | undefined;
  /** Compiles a call of its own (`domain(…)`, `http.header(…)`), or undefined when it has none by that name. */
  call(node: ASTNode, compiler: Compiler<F>): Reader<F> | undefined;
}

export class Compiler<F extends Budget> {
  readonly faults: Fault[] = [];
  readonly #scope: Scope<F>;
  /** Names of the comprehension variables in scope; the position is the slot in Budget.locals. */
  readonly #locals: string[] = [];

  constructor(scope: Scope<F>) {
    this.#scope = scope;
  }

  /** Notes a fault and gives a reader that knows nothing. */
  refuse(node: ASTNode, message: string, fix?: string): Reader<F> {
    const value = node.input.slice(node.start, node.end);
    this.faults.push({ start: node.start, end: node.end, message, value, ...(fix === undefined ? {} : { fix }) });
    return () => undefined;
  }

  compile(node: ASTNode): Reader<F> {
    switch (node.op) {
      case 'value':
        return this.#literal(node, node.args);
      case 'id':
        return this.#identifier(node, node.args);
      case '.':
        return this.#select(node, node.args[0], node.args[1]);
      case '.?':
        return strict(this.compile(node.args[0]), (value) => optionalIndex(value, node.args[1] as Known));
      case '[]':
        return strict2(this.compile(node.args[0]), this.compile(node.args[1]), (value, key) =>
          value instanceof Optional ? optionalIndex(value, key) : indexInto(value, key),
        );
      case '[?]':
        return strict2(this.compile(node.args[0]), this.compile(node.args[1]), optionalIndex);
      case 'call':
        return this.#call(node, node.args[0], node.args[1]);
      case 'rcall':
        return this.#method(node, node.args[0], node.args[1], node.args[2]);
      case 'list':
        return this.#list(node.args);
      case 'map':
        return this.#map(node.args);
      case '?:':
        return ternary(this.compile(node.args[0]), this.compile(node.args[1]), this.compile(node.args[2]));
      case '&&':
      case '||':
        return logical(node.op === '||', this.compile(node.args[0]), this.compile(node.args[1]));
      case '!_':
      case '-_': {
        const { op } = node;
        return strict(this.compile(node.args), (value) => negate(op, value));
      }
      default:
        return this.#binary(node, node.op, node.args[0], node.args[1]);
    }
  }

  /** Reads `text` against a pattern that was compiled at load. */
  matching(name: string, text: ASTNode, matcher: Matcher): Reader<F> {
    return strict(this.compile(text), (value, frame) => {
      if (typeof value !== 'string') return noOverload(name, value);
      return frame.spend(matcher.cost(value.length)) ? OUT_OF_BUDGET : matcher.test(value);
    });
  }

  #literal(node: ASTNode, value: unknown): Reader<F> {
    if (value === null || ['string', 'bigint', 'number', 'boolean'].includes(typeof value)) return () => value as Known;
    return this.refuse(node, 'unsigned integers and bytes have no use in a condition', 'write an int or a string');
  }

  #identifier(node: ASTNode, name: string): Reader<F> {
    const slot = this.#locals.lastIndexOf(name);
    if (slot !== -1) return (frame) => frame.locals[slot];
    return this.#scope.name(name) ?? this.refuse(node, `${name} cannot be used as a value`);
  }

  /** The reader of a name of the scope, unless a comprehension variable hides it. */
  #scopeName(node: ASTNode): Reader<F> | undefined {
    const path = dottedPath(node);
    const root = path?.split('.', 1)[0];
    return path === undefined || this.#locals.includes(root as string) ? undefined : this.#scope.name(path);
  }

  #select(node: ASTNode, operand: ASTNode, field: string): Reader<F> {
    const name = this.#scopeName(node);
    if (name !== undefined) return name;
    return strict(this.compile(operand), (value) => {
      if (value instanceof Optional) return optionalIndex(value, field);
      return isMap(value) ? indexInto(value, field) : noOverload(`.${field}`, value);
    });
  }

  #call(node: ASTNode, name: string, args: readonly ASTNode[]): Reader<F> {
    if (name === 'has') return this.#has(node, args[0] as ASTNode);
    const own = this.#scope.call(node, this);
    if (own !== undefined) return own;
    const operation = args.length === 1 ? FUNCTIONS.get(name) : undefined;
    if (operation === undefined) return this.refuse(node, `${name}() is not supported in a condition`);
    return strict(this.compile(args[0] as ASTNode), operation);
  }

  #has(node: ASTNode, arg: ASTNode): Reader<F> {
    if (arg.op !== '.') return this.refuse(node, 'has() takes a field, as in has(http.json.id)');
    if (this.#scopeName(arg) !== undefined) {
      return this.refuse(
        node,
        'has() of a name that is always there is always true',
        'compare the value, or leave it out',
      );
    }
    const field = arg.args[1];
    return strict(this.compile(arg.args[0]), (value) => {
      const holder = value instanceof Optional ? value.value : value;
      if (holder === undefined) return false;
      return isMap(holder) ? mapGet(holder, field) !== undefined : noOverload('has', holder);
    });
  }

  #method(node: ASTNode, name: string, receiver: ASTNode, args: readonly ASTNode[]): Reader<F> {
    if (isComprehension(node)) return this.#comprehension(node, name, receiver, args);
    if (isBind(node)) return this.#bind(node, args);
    const own = this.#scope.call(node, this) ?? this.#optionalMethod(name, receiver, args);
    if (own !== undefined) return own;
    if (name === 'matches') return this.#matches(node, receiver, args[0]);
    const [first, second] = args;
    const unary = first === undefined ? UNARY_METHODS.get(name) : undefined;
    if (unary !== undefined) return strict(this.compile(receiver), unary);
    const binary = first !== undefined && second === undefined ? BINARY_METHODS.get(name) : undefined;
    if (binary !== undefined) return strict2(this.compile(receiver), this.compile(first as ASTNode), binary);
    const three = args.length === 2 ? TERNARY_METHODS.get(name) : undefined;
    if (three === undefined) return this.refuse(node, `.${name}() is not supported in a condition`);
    return strict3(this.compile(receiver), this.compile(first as ASTNode), this.compile(second as ASTNode), three);
  }

  #matches(node: ASTNode, receiver: ASTNode, arg: ASTNode | undefined): Reader<F> {
    const pattern = stringLiteral(arg);
    if (pattern === undefined) return this.refuse(node, 'the pattern of matches() must be a string literal');
    const result = regexMatcher(pattern);
    if (!result.ok) return this.refuse(arg as ASTNode, result.message, result.fix);
    return this.matching('matches', receiver, result.matcher);
  }

  #optionalMethod(name: string, receiver: ASTNode, args: readonly ASTNode[]): Reader<F> | undefined {
    if (receiver.op === 'id' && receiver.args === 'optional' && !this.#locals.includes('optional')) {
      if (name === 'none') return () => new Optional(undefined);
      if (name === 'of') return strict(this.compile(args[0] as ASTNode), (value) => new Optional(value));
    }
    if (name === 'orValue' || name === 'or')
      return orElse(name, this.compile(receiver), this.compile(args[0] as ASTNode));
    if (name === 'hasValue') {
      return strict(this.compile(receiver), (value) =>
        value instanceof Optional ? value.value !== undefined : noOverload(name, value),
      );
    }
    if (name !== 'value') return undefined;
    return strict(this.compile(receiver), (value) => {
      if (!(value instanceof Optional)) return noOverload(name, value);
      return value.value === undefined ? new CelError('no_value', 'the optional is empty') : value.value;
    });
  }

  #comprehension(node: ASTNode, name: string, range: ASTNode, args: readonly ASTNode[]): Reader<F> {
    const [variable, ...bodies] = args as [ASTNode, ...ASTNode[]];
    const items = this.compile(range);
    if (variable.op !== 'id') return this.refuse(node, `the first argument of ${name}() must be a plain name`);
    const slot = this.#locals.push(variable.args) - 1;
    const [first, second] = bodies.map((body) => this.compile(body)) as [Reader<F>, Reader<F> | undefined];
    this.#locals.pop();
    const loop = { items, slot, stepsPerItem: bodies.reduce((steps, body) => steps + countNodes(body), 1) };
    if (name === 'all' || name === 'exists') return quantifier(loop, name === 'exists', first);
    if (name === 'map') return comprehension(loop, second === undefined ? undefined : first, second ?? first);
    const matched = comprehension(loop, first, undefined);
    return name === 'filter' ? matched : strict(matched, (list) => isList(list) && list.length === 1);
  }

  #bind(node: ASTNode, args: readonly ASTNode[]): Reader<F> {
    const [variable, bound, body] = args as [ASTNode, ASTNode, ASTNode];
    const value = this.compile(bound);
    if (variable.op !== 'id') return this.refuse(node, 'the first argument of cel.bind() must be a plain name');
    const slot = this.#locals.push(variable.args) - 1;
    const read = this.compile(body);
    this.#locals.pop();
    return (frame) => {
      frame.locals[slot] = value(frame);
      return read(frame);
    };
  }

  #list(items: readonly ASTNode[]): Reader<F> {
    const readers = items.map((item) => this.compile(item));
    if (items.every((item) => item.op === 'value')) {
      const constant = readers.map((read) => read(undefined as never) as Known);
      return () => constant;
    }
    return (frame) => allKnown(readers, frame);
  }

  #map(entries: readonly (readonly [ASTNode, ASTNode])[]): Reader<F> {
    const keys = entries.map(([key]) => this.compile(key));
    const values = entries.map(([, value]) => this.compile(value));
    return (frame) => {
      const known = allKnown(keys, frame);
      const given = allKnown(values, frame);
      if (!Array.isArray(known)) return known;
      if (!Array.isArray(given)) return given;
      const map = new Map(known.map((key, i) => [key, given[i] as Known]));
      return map.size === known.length ? map : new CelError('range', 'a map literal repeats a key');
    };
  }

  #binary(node: ASTNode, op: string, left: ASTNode, right: ASTNode): Reader<F> {
    const operation = BINARY_OPERATIONS.get(op);
    if (operation === undefined) return this.refuse(node, `the operator ${op} is not supported in a condition`);
    const a = this.compile(left);
    if (op === '==' || op === '!=') {
      const text = stringLiteral(right);
      if (text !== undefined) return equalsText(a, text, op === '==', operation);
    }
    const texts = op === 'in' ? stringListLiteral(right) : undefined;
    if (texts !== undefined) return inTexts(a, new Set<Known>(texts));
    return strict2(a, this.compile(right), operation);
  }
}
