/**
 * The caps of the rule language (policy.md, "File"), all checked before the work they bound (threat 31).
 */

/** Rule files in one folder. */
export const MAX_FILES = 1_024;
/** One rule file, in bytes of UTF-8. */
export const MAX_FILE_BYTES = 1_048_576;
/** Rules in all files together. */
export const MAX_RULES = 10_000;
/** One condition after its definitions are expanded, in characters. */
export const MAX_CONDITION_CHARS = 65_536;
/** Nodes of one condition's syntax tree. */
export const MAX_AST_NODES = 500;
/** Brackets within brackets, unary operators in a row, definitions within definitions. */
export const MAX_NESTING = 32;
/** `all`, `exists`, `exists_one`, `map`, `filter` within one another. */
export const MAX_NESTED_COMPREHENSIONS = 2;
/** Instructions of one compiled regular expression. */
export const MAX_REGEX_INSTRUCTIONS = 2_000;
/** YAML collections within collections; the schema itself needs six. */
export const MAX_YAML_NESTING = 64;
/** Problems reported for one load; the rest is counted. */
export const MAX_PROBLEMS = 1_000;

/**
 * Steps of one evaluation, each about 50 ns: one syntax node of a comprehension's body per element, 16 characters of
 * plain string work, 4 characters of a regular expression's table walk (regex.ts). Enough for a regular expression
 * over a body of several MiB (the default cap of S011-FR-014 is 1 MiB), and some 0.1 s at the very worst.
 */
export const EVALUATION_STEPS = 2_000_000;
