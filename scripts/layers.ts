/**
 * Holds src/ to the layers and package owners of .dependency-cruiser.mjs. Counts what was cruised against what is
 * there, since a cruiser without a parser for TypeScript finds no violation in zero modules.
 */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';

/** The part of dependency-cruiser's JSON report that is read here. */
interface CruiseReport {
  readonly modules: readonly { readonly source: string }[];
  readonly summary: { readonly violations: readonly Violation[] };
}

interface Violation {
  readonly from: string;
  readonly to: string;
  readonly rule: { readonly name: string };
  readonly comment?: string;
}

const MAX_REPORT_BYTES = 64 * 1024 * 1024;

/** One line per broken rule, and one per file that was not looked at; empty when the tree is in order. */
export async function layerProblems(root: string): Promise<string[]> {
  const report = await cruise(root);
  const seen = new Set(report.modules.map((module) => module.source));
  const files = sourceFiles(root);
  const problems = files.filter((file) => !seen.has(file)).map((file) => `${file}: was not cruised`);
  if (files.length === 0) problems.push('src/ holds no TypeScript file');
  for (const violation of report.summary.violations) {
    const why = violation.comment === undefined ? '' : ` (${violation.comment})`;
    problems.push(`${violation.rule.name}: ${violation.from} -> ${violation.to}${why}`);
  }
  return problems;
}

/** Paths of the TypeScript files below src/, relative to root, sorted. */
export function sourceFiles(root: string): string[] {
  return readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => path.posix.join('src', file))
    .sort();
}

function cruise(root: string): Promise<CruiseReport> {
  const bin = path.resolve(import.meta.dirname, '../node_modules/.bin/depcruise');
  const args = [bin, '--config', '.dependency-cruiser.mjs', '--output-type', 'json', 'src'];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: root, maxBuffer: MAX_REPORT_BYTES }, (error, stdout, stderr) => {
      // Violations end with a non-zero code too: only a run without a report is a failure of the tool.
      try {
        resolve(JSON.parse(stdout) as CruiseReport);
      } catch {
        reject(new Error(`dependency-cruiser gave no report: ${stderr}`, { cause: error }));
      }
    });
  });
}

if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '..');
  const problems = await layerProblems(root);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exit(1);
  console.log(`${sourceFiles(root).length} files keep the layers`);
}
