/**
 * A channel of messages between two processes, as the pki layer needs it: several kinds of message may share one, and each
 * handler ignores what is not its own.
 */
export interface Port {
  /** Does nothing once the other side is gone. */
  send(message: unknown): void;
  /** Adds a handler; there may be several. `handle`: what the channel carried beside the message, as a socket. */
  onMessage(handler: (message: unknown, handle?: unknown) => void): void;
  /** Adds a handler for when the other side is gone; called at once if it already is. */
  onClose(handler: () => void): void;
}
