/**
 * Something wrong with one rule, before it has a file and a line.
 */
export interface Finding {
  readonly severity: 'error' | 'warning';
  /** Below the rule, as in ['egress', 'mode']. */
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly fix: string;
}
