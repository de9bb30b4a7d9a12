/**
 * The signer's answers to those who change its CAs: a change is asked by message, a CA that is brought comes over a socket
 * that is handed over with the message. What goes back is public.
 */
import { Socket } from 'node:net';
import type { CaSet } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import { receiveUpload } from './ca-upload.ts';
import type { Port } from './port.ts';
import { type ChangeReply, readMessage, type SignerChange } from './signer-protocol.ts';

export interface CaChanger {
  change(change: SignerChange): Promise<CaSet>;
  take(material: Buffer): Promise<CaSet>;
}

/** One at a time is the asker's business; a second one meanwhile may be refused, and spoils nothing. */
export function serveChanges(port: Port, changer: CaChanger): void {
  const uploads = new Map<number, Socket>();
  port.onMessage((message, handle) => {
    const change = readMessage('ca_change', message);
    if (change !== undefined)
      void replied(change.id, () => changer.change(change.change)).then((reply) => port.send(reply));
    const upload = readMessage('ca_upload', message);
    if (upload !== undefined && handle instanceof Socket) uploads.set(upload.id, handle);
    const begin = readMessage('ca_upload_begin', message);
    if (begin !== undefined) void takeUpload(begin.id).then((reply) => port.send(reply));
    const answer = readMessage('ca_upload_answer', message);
    if (answer !== undefined) finish(answer.id, answer.text);
  });

  function takeUpload(id: number): Promise<ChangeReply> {
    return replied(id, async () => {
      const socket = uploads.get(id);
      if (socket === undefined) throw new CaError('unfit', 'the connection was closed before anything was sent');
      // A client that goes away changes nothing about what it sent.
      socket.on('error', () => socket.destroy());
      return changer.take(await receiveUpload(socket));
    });
  }

  function finish(id: number, text: string): void {
    const socket = uploads.get(id);
    // The other end may never close its own; what was written reaches it all the same.
    socket?.end(text, () => socket.destroy());
    uploads.delete(id);
  }
}

async function replied(id: number, change: () => Promise<CaSet>): Promise<ChangeReply> {
  try {
    return { type: 'ca_changed', id, cas: await change() };
  } catch (error) {
    const kind = error instanceof CaError ? error.kind : 'unfit';
    return { type: 'ca_refused', id, kind, message: (error as Error).message };
  }
}
