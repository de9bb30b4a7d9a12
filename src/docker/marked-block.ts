/**
 * Our lines in a file of somebody else's: between two marks, so that they can be replaced and taken out again whatever
 * happened to the rest of it. For certificate bundles and npmrc. Pure.
 */

const BEGIN = 'outcall attach: begin';
const END = 'outcall attach: end';

/** `text` with `lines` at its end, and no older block. `comment`: how the file begins one, as `#` or `;`. */
export function withBlock(text: string, lines: string, comment: string): string {
  const rest = withoutBlock(text);
  const joint = rest === '' || rest.endsWith('\n') ? '' : '\n';
  return `${rest}${joint}${comment} ${BEGIN}\n${lines.trimEnd()}\n${comment} ${END}\n`;
}

/** `text` as it was; the same text where there is no block. */
export function withoutBlock(text: string): string {
  return text.replace(new RegExp(`^[#;] ${BEGIN}\\n[\\s\\S]*?^[#;] ${END}\\n`, 'gm'), '');
}
