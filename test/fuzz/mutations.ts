/** Small changes to bytes, of the kinds that parsers trip over. */
import fc from 'fast-check';

const INTERESTING = [...'\r\n\t :;,=0159afA/"', '\u0000', '\u000b', '\u007f', '\u0085', '\u00a0', '\u00ff'];
const mutation = fc.record({
  at: fc.nat({ max: 400 }),
  kind: fc.constantFrom<'replace' | 'insert' | 'delete' | 'repeat'>('replace', 'insert', 'delete', 'repeat'),
  text: fc.constantFrom(...INTERESTING, '\r\n', '\r\n\r\n'),
});

/** The text as it is, or with up to three bytes or slices changed. */
export function mutated(texts: fc.Arbitrary<string>): fc.Arbitrary<Buffer> {
  const mutations = fc.oneof(
    { weight: 1, arbitrary: fc.constant([]) },
    fc.array(mutation, { minLength: 1, maxLength: 3 }),
  );
  return fc.tuple(texts, mutations).map(([text, changes]) => {
    let out = text;
    for (const { at, kind, text: insert } of changes) {
      const i = out.length === 0 ? 0 : at % out.length;
      if (kind === 'replace') out = out.slice(0, i) + insert + out.slice(i + 1);
      else if (kind === 'insert') out = out.slice(0, i) + insert + out.slice(i);
      else if (kind === 'delete') out = out.slice(0, i) + out.slice(i + 1);
      else out = out.slice(0, i) + out.slice(Math.max(0, i - 8));
    }
    return Buffer.from(out, 'latin1');
  });
}
