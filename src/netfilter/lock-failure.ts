/** The network lock cannot be set, or cannot be read back; the message is for the operator. */
export class LockFailure extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LockFailure';
  }
}
