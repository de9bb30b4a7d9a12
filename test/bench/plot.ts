// The plot of docs/performance.md: for each measurement, how many times better than Squid each target is, on a scale of doublings.
// Bars to the right of the line are better than Squid, to the left worse.

import { outcall } from './outcall.ts';
import { haproxy, mitmproxy, squid } from './peers.ts';
import { type Row, ratioOf } from './report.ts';

const BARS = [
  { target: outcall, colour: '#2b6cb0' },
  { target: haproxy, colour: '#a0aec0' },
  { target: mitmproxy, colour: '#dd9b4b' },
];
const WIDTH = 900;
const LABEL_WIDTH = 400;
const BAR_HEIGHT = 12;
const GROUP_GAP = 14;
const TOP = 48;
const MIN_DOUBLINGS = -5;
const MAX_DOUBLINGS = 5;

/** An SVG document. Measurements without Squid are left out. */
export function plot(rows: readonly Row[]): string {
  const shown = rows.filter((row) => row.samples.has(squid));
  const groupHeight = BARS.length * BAR_HEIGHT + GROUP_GAP;
  const height = TOP + shown.length * groupHeight + 8;
  const groups = shown.map((row, index) => group(row, TOP + index * groupHeight));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<title>Outcall and others, in multiples of Squid</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${legend()}
${scale(height)}
${groups.join('\n')}
</svg>
`;
}

function group(row: Row, top: number): string {
  const label = `<text x="${LABEL_WIDTH - 8}" y="${top + 22}" text-anchor="end">${row.measurement.title}</text>`;
  const bars = BARS.map(({ target, colour }, index) => {
    const ratio = ratioOf(row, target, squid, 'value');
    if (Number.isNaN(ratio)) return '';
    return bar(row.measurement.better === 'higher' ? ratio : 1 / ratio, top + index * BAR_HEIGHT, colour);
  });
  return [label, ...bars].join('');
}

function bar(times: number, top: number, colour: string): string {
  const [from, to] = [x(0), x(Math.log2(times))];
  const text = times >= 10 ? times.toFixed(0) : times.toPrecision(2);
  const place = to >= from ? `x="${to + 4}"` : `x="${to - 4}" text-anchor="end"`;
  const size = `x="${Math.min(from, to)}" y="${top}" width="${Math.abs(to - from)}" height="${BAR_HEIGHT - 2}"`;
  return `<rect ${size} fill="${colour}"/><text ${place} y="${top + 9}" font-size="9">${text}×</text>`;
}

function scale(height: number): string {
  const doublings = Array.from({ length: MAX_DOUBLINGS - MIN_DOUBLINGS + 1 }, (_, index) => MIN_DOUBLINGS + index);
  const lines = doublings.map((n) => {
    const text = n < 0 ? `1/${2 ** -n}` : `${2 ** n}`;
    const line = `<line x1="${x(n)}" x2="${x(n)}" y1="${TOP - 6}" y2="${height}" stroke="${n === 0 ? '#444' : '#e2e2e2'}"/>`;
    return `${line}<text x="${x(n)}" y="${TOP - 10}" text-anchor="middle" fill="#666">${text}</text>`;
  });
  return lines.join('');
}

function legend(): string {
  const items = BARS.map(
    ({ target, colour }, index) =>
      `<rect x="${8 + index * 100}" y="12" width="10" height="10" fill="${colour}"/><text x="${22 + index * 100}" y="21">${target.name}</text>`,
  );
  return `${items.join('')}<text x="${LABEL_WIDTH}" y="21" fill="#444">times as good as Squid (=1)</text>`;
}

function x(doublings: number): number {
  const within = Math.min(MAX_DOUBLINGS, Math.max(MIN_DOUBLINGS, doublings));
  const share = (within - MIN_DOUBLINGS) / (MAX_DOUBLINGS - MIN_DOUBLINGS);
  return Math.round(LABEL_WIDTH + 20 + share * (WIDTH - LABEL_WIDTH - 60));
}
