/**
 * The closing default of a set of files: one file in audit must not open what the others keep closed, so it is in audit
 * where the daemon is, or where every file says so. Upholds: threats 27, 36 (no interception without a CA).
 */
import type { Closing } from './closing.ts';
import { needsCa } from './rule-checks.ts';
import type { FileContext, RuleFile } from './rule-file.ts';

/** Reports at the files what is wrong with their `defaults`. */
export function closingOf(files: readonly RuleFile[], context: FileContext): Closing {
  const inAudit = files.filter((file) => file.defaults.enforcement === 'audit');
  const all = files.length > 0 && inAudit.length === files.length;
  const enforcement = context.enforcement === 'audit' || all ? 'audit' : 'enforce';
  if (enforcement === 'enforce') reportPartial(files, inAudit);
  return { enforcement, unmatched: unmatchedOf(files, context) };
}

function reportPartial(files: readonly RuleFile[], inAudit: readonly RuleFile[]): void {
  const other = files.find((file) => file.defaults.enforcement !== 'audit');
  for (const file of inAudit) {
    file.reportDefault('enforcement', {
      severity: 'warning',
      message: `holds for the rules of this file; what no rule allows stays blocked, since ${other?.file} is not in audit`,
      fix: 'set it in every file, or start outcalld with --enforcement audit',
    });
  }
  for (const file of files) {
    if (file.defaults.unmatched === undefined || file.defaults.enforcement === 'audit') continue;
    file.reportDefault('unmatched', {
      severity: 'warning',
      message: 'unmatched has no effect without enforcement: audit',
      fix: 'add enforcement: audit, or remove it',
    });
  }
}

function unmatchedOf(files: readonly RuleFile[], { caLoaded }: FileContext): Closing['unmatched'] {
  const named = files.filter((file) => file.defaults.unmatched !== undefined);
  const [first] = named;
  for (const file of named) {
    const value = file.defaults.unmatched;
    if (value === 'intercept' && !caLoaded) {
      file.reportDefault('unmatched', { ...needsCa('unmatched: intercept'), value });
    }
    if (value === undefined || value === first?.defaults.unmatched) continue;
    const message = `${first?.file} says unmatched: ${first?.defaults.unmatched}, and there is one for all files`;
    file.reportDefault('unmatched', { message, value, fix: 'write the same in both, or remove one' });
  }
  return first?.defaults.unmatched ?? 'tunnel';
}
