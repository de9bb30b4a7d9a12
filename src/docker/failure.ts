/**
 * What the commands on containers can fail with: one class, a closed set of kinds, words for the operator with what to
 * do about it. Text of the engine is passed on, never matched.
 */

export type DockerFailureKind =
  /** No engine answers. */
  | 'unreachable'
  /** The engine, or something of it, is not what we can work with. */
  | 'unsupported'
  /** A container, network or appliance that was named is not there. */
  | 'absent'
  /** The container cannot be locked as it is. */
  | 'refused'
  /** The engine said no. */
  | 'engine'
  /** The container was changed, and then did not behave as a locked one: it was changed back. */
  | 'unverified';

export class DockerFailure extends Error {
  readonly kind: DockerFailureKind;
  /** What to do, one per line. */
  readonly remedies: readonly string[];

  constructor(kind: DockerFailureKind, message: string, remedies: readonly string[] = [], options?: ErrorOptions) {
    super(message, options);
    this.name = 'DockerFailure';
    this.kind = kind;
    this.remedies = remedies;
  }
}

/** The words of an error, whatever it is. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
