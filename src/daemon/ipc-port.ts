/**
 * Node's IPC channel as the port that pki speaks over. Either end: `process` in a child, the ChildProcess in the supervisor.
 */
import type { EventEmitter } from 'node:events';
import type { Port } from '../pki/port.ts';

interface IpcEnd extends EventEmitter {
  readonly connected: boolean;
  send?(message: never, done: (error: Error | null) => void): boolean;
}

export function ipcPort(end: IpcEnd): Port {
  return {
    send: (message) => {
      // A send that fails is a channel that closed, and onClose tells that.
      if (end.connected) end.send?.(message as never, () => {});
    },
    onMessage: (handler) => {
      end.on('message', handler);
    },
    onClose: (handler) => {
      if (end.connected) end.once('disconnect', handler);
      else handler();
    },
  };
}
