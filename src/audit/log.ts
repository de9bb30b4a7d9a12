/**
 * Diagnostics for the operator: JSON lines on standard error through pino. The audit log is another file.
 * Never given request data beyond what an audit record may hold.
 */
import { type DestinationStream, destination, pino } from 'pino';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What the parts of the daemon may do with the log: an object of fields, then the words. */
export interface Log {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

const STDERR_FD = 2;

/** A log to standard error (or `stream`); `name` tells the processes apart: outcalld, worker-0, signer. */
export function createLog(options: {
  readonly level: LogLevel;
  readonly name: string;
  readonly stream?: DestinationStream;
}): Log {
  return pino(
    {
      level: options.level,
      base: { process: options.name },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous: a line about a crash must be out before the crash is. Diagnostics are few.
    options.stream ?? destination({ fd: STDERR_FD, sync: true }),
  );
}
