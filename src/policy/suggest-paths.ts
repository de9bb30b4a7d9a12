/**
 * Paths that were seen to templates of paths: what looks like an id, a hash, a version or a date becomes `*`, and so does
 * a place where very many values were seen. Everything else stays as it is. Never crosses a `/`, so never a `**`.
 */

export interface PathTemplate {
  /** A pattern of glob(); where there is no `*` in it, the path itself. */
  readonly pattern: string;
  /** The paths behind it, in the order in which they came. */
  readonly paths: readonly string[];
  /** It takes in values for no better reason than that there were many. */
  readonly widened: boolean;
}

/** More values than this in one place, with all else equal, and the place is taken for a parameter. */
const MAX_SIBLINGS = 16;

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi;
const DATE = /(?<![0-9])(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9](?![0-9])/g;
/** 1.3.0, 2.0-rc.1, 7.88.1-10+deb12u5: two numbers or more, and what versions go on with. */
const VERSION =
  /(?<![0-9A-Za-z.])v?[0-9]+(?:\.[0-9]+)+(?:[-+~.](?:[0-9]|alpha|beta|rc|pre|dev|next|canary|post|deb|ubuntu|dfsg)[0-9A-Za-z+~]*(?:\.[0-9][0-9A-Za-z+~]*)*)*(?![0-9A-Za-z])/g;
/** An API's version is a name, not a value. */
const API_VERSION = /^v?[0-9]+(?:\.[0-9]+)?$/;
/** Runs between separators and escapes. */
const RUN = /%[0-9A-Fa-f]{2}|[0-9A-Za-z]+/g;
/** Content is often kept by its hash, in folders named by two digits of it. */
const SHARD = /^[0-9a-f]{2}$/i;
const CONTENT_HASH = /^[0-9a-f]{30,}$/i;

/** Paths without queries; each path belongs to one template. */
export function templatesOf(paths: Iterable<string>): readonly PathTemplate[] {
  const templates = new Map<string, { segments: readonly string[]; paths: string[]; widened: boolean }>();
  for (const path of paths) {
    const segments = segmentsOf(path);
    const known = templates.get(segments.join('/'));
    if (known === undefined) templates.set(segments.join('/'), { segments, paths: [path], widened: false });
    else known.paths.push(path);
  }
  let found: readonly Draft[] = [...templates.values()];
  for (let next = joined(found); next !== undefined; next = joined(found)) found = next;
  return found.map(({ segments, paths: seen, widened }) => ({ pattern: segments.join('/'), paths: seen, widened }));
}

interface Draft {
  readonly segments: readonly string[];
  readonly paths: readonly string[];
  readonly widened: boolean;
}

function segmentsOf(path: string): readonly string[] {
  const written = path.split('/');
  const segments = written.map((segment, i) => templateOf(segment, i));
  for (let i = written.findIndex((segment) => CONTENT_HASH.test(segment)) - 1; i > 0; i--) {
    if (!SHARD.test(written[i] as string)) break;
    segments[i] = '*';
  }
  return segments;
}

/** `index`: 1 is the first segment, where a small number is more often an API's version than an id. */
function templateOf(segment: string, index: number): string {
  if (/^[0-9]+$/.test(segment)) return index > 1 || segment.length > 2 ? '*' : segment;
  if (API_VERSION.test(segment)) return segment;
  const marked = segment.replace(UUID, '*').replace(DATE, '*').replace(VERSION, '*');
  return marked.replace(RUN, (run) => (isOpaque(run) ? '*' : run)).replace(/\*(?:[-_.+~:]?\*)+/g, '*');
}

/** Hexadecimal digits, a long number, or letters and digits as no word has them. */
function isOpaque(run: string): boolean {
  if (run.startsWith('%')) return false;
  if (/^[0-9]{6,}$/.test(run)) return true;
  const hasDigit = /[0-9]/.test(run);
  if (/^[0-9a-f]+$/i.test(run)) return (run.length >= 7 && hasDigit && /[a-f]/i.test(run)) || run.length >= 16;
  if (!hasDigit || run.length < 8) return false;
  const mixed = /[a-z]/.test(run) && /[A-Z]/.test(run);
  return mixed || (run.length >= 12 && (run.match(/[0-9]/g) ?? []).length >= 3);
}

/** The templates after joining the largest family of them, or undefined where no family is too large. */
function joined(templates: readonly Draft[]): readonly Draft[] | undefined {
  const families = [...familiesBy(templates, (segments, i) => segments.with(i, '*').join('/'))];
  const large =
    largest(families) ?? largest([...familiesBy(templates, (segments, i) => `${i} ${segments[i]} ${segments.length}`)]);
  if (large === undefined) return undefined;
  const family = new Set(large);
  const first = large[0] as Draft;
  const segments = first.segments.map((_, i) => commonOf(large.map((draft) => draft.segments[i] as string)));
  const whole = { segments, paths: large.flatMap(({ paths }) => paths), widened: true };
  return [...templates.filter((draft) => !family.has(draft)), whole];
}

/** Templates that are the same under `key` for one of their places. */
function familiesBy(
  templates: readonly Draft[],
  key: (segments: string[], index: number) => string,
): Iterable<readonly Draft[]> {
  const families = new Map<string, Draft[]>();
  for (const draft of templates) {
    for (let i = 1; i < draft.segments.length; i++) {
      const name = `${i}/${key([...draft.segments], i)}`;
      const family = families.get(name);
      if (family === undefined) families.set(name, [draft]);
      else family.push(draft);
    }
  }
  return families.values();
}

function largest(families: readonly (readonly Draft[])[]): readonly Draft[] | undefined {
  const [first] = families.filter(({ length }) => length > MAX_SIBLINGS).sort((a, b) => b.length - a.length);
  return first;
}

/** The segment itself where all have it; else `*`, with the ending that all have in common. */
function commonOf(segments: readonly string[]): string {
  const [first = ''] = segments;
  if (segments.every((segment) => segment === first)) return first;
  const ending = /(?:\.[a-z][a-z0-9]*)+$/.exec(first)?.[0] ?? '';
  return segments.every((segment) => segment.endsWith(ending)) ? `*${ending}` : '*';
}
