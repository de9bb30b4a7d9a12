/**
 * A channel of messages between two processes, as the pki layer needs it: several kinds of message may share one, and each
 * handler ignores what is not its own.
 */
export interface Port {
  /** Does nothing once the other side is gone. */
  send(message: unknown): void;
  /** Adds a handler; there may be several. */
  onMessage(handler: (message: unknown) => void): void;
  /** Adds a handler for when the other side is gone; called at once if it already is. */
  onClose(handler: () => void): void;
}
