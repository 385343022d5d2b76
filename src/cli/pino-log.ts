// The Log of the core, written by pino to stderr: one JSON object per line, or lines for people.
// Synchronous, so that the last words before an exit are not lost; nothing logs per request.

import { destination, pino } from 'pino';
import { PinoPretty } from 'pino-pretty';
import { StorageError } from '../base/errors.ts';
import type { Log, LogFields } from '../base/log.ts';

const STDERR = 2;

export interface LogSettings {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly format: 'pretty' | 'json';
}

/** `target` is a file descriptor or a path; stderr unless a test says otherwise. */
export function createPinoLog(settings: LogSettings, target: number | string = STDERR): Log {
  const sink = destination({ dest: target, sync: true });
  const stream =
    settings.format === 'json'
      ? sink
      : PinoPretty({
          destination: sink,
          sync: true,
          colorize: target === STDERR && process.stderr.isTTY === true,
          ignore: 'pid,hostname',
          translateTime: 'SYS:HH:MM:ss.l',
          singleLine: true,
        });
  const logger = pino({ level: settings.level }, stream);
  return {
    debug: (event, fields) => logger.debug(plain(fields), event),
    info: (event, fields) => logger.info(plain(fields), event),
    warn: (event, fields) => logger.warn(plain(fields), event),
    error: (event, fields) => logger.error(plain(fields), event),
  };
}

/** Errors have no enumerable fields of use: without this they would be logged as `{}`. */
function plain(fields: LogFields = {}): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    out[key] = value instanceof Error ? plainError(value) : value;
  }
  return out;
}

function plainError(error: Error): Record<string, unknown> {
  return {
    name: error.name,
    ...(error instanceof StorageError ? { kind: error.kind } : { stack: error.stack }),
    message: error.message,
    ...(error.cause instanceof Error ? { cause: plainError(error.cause) } : {}),
  };
}
