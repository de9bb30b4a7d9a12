/** A peer that is slow to read: what comes from the other side waits here until the test opens the gate. */
import { Duplex } from 'node:stream';

export interface Gated {
  /** For startTls, in the place of the stream itself. */
  readonly stream: Duplex;
  /** Resolves when the first bytes wait at the gate. */
  readonly arrived: Promise<void>;
  open(): void;
}

export function gated(under: Duplex): Gated {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  let held: Buffer[] | undefined = [];
  const stream = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => void under.write(chunk, done),
    final: (done) => void under.end(done),
    destroy: (error, done) => {
      under.destroy();
      done(error);
    },
  });
  under.on('data', (chunk: Buffer) => {
    arrive();
    if (held === undefined) stream.push(chunk);
    else held.push(chunk);
  });
  under.once('error', (error) => stream.destroy(error));
  under.once('close', () => stream.destroy());
  under.resume();
  return {
    stream,
    arrived,
    open: () => {
      for (const chunk of held ?? []) stream.push(chunk);
      held = undefined;
    },
  };
}
