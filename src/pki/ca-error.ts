/**
 * What can be wrong with the CA on disk, told to the operator before anything is intercepted.
 */

/** missing: no such file; exists: would be overwritten; unfit: there, and not to be used; refused: not as things stand. */
export type CaErrorKind = 'missing' | 'exists' | 'unfit' | 'refused';

/** What is wrong with the CA on disk; the message is for the operator and names the file. */
export class CaError extends Error {
  readonly kind: CaErrorKind;

  constructor(kind: CaErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CaError';
    this.kind = kind;
  }
}
