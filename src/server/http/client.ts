// The other end of the admin socket: what the command line uses to speak to a running server.
// An error that the server reports comes back as the same StorageError kind, so exit codes carry
// over.

import { request } from 'node:http';
import { z } from 'zod';
import { StorageError, type StorageErrorKind } from '../../base/errors.ts';
import {
  errorReport,
  statusReport,
  type StatusReport,
  volumeList,
  volumeReport,
  type VolumeReport,
  type VolumeUsageReport,
} from './report.ts';
import { STATUS_OF_KIND } from './routes.ts';

/** Replies are small; a bound keeps a wrong server from filling our memory. */
const REPLY_BYTES_MAX = 16 * 1024 * 1024;

export interface AdminClient {
  status(): Promise<StatusReport>;
  flush(): Promise<void>;
  listVolumes(): Promise<readonly VolumeUsageReport[]>;
  createVolume(name: string, sizeBytes: number): Promise<VolumeReport>;
  resizeVolume(name: string, sizeBytes: number, force: boolean): Promise<VolumeReport>;
  removeVolume(name: string): Promise<void>;
}

/** Every call throws `unavailable` when no server runs at `path`. */
export function createAdminClient(path: string): AdminClient {
  async function call<T extends z.ZodType>(
    shape: T,
    method: string,
    url: string,
    body?: unknown,
  ): Promise<z.output<T>> {
    const { status, text } = await exchange(path, method, url, body);
    const reply = parseReply(path, text);
    if (status !== 200) throw reportedError(path, status, reply);
    const result = shape.safeParse(reply);
    if (result.success) return result.data;
    throw new StorageError(
      'unavailable',
      `the server at ${path} answers in another form: is it another version of varve?`,
      { cause: result.error, retryable: false },
    );
  }
  const volumeUrl = (name: string): string => `/volumes/${encodeURIComponent(name)}`;
  return {
    status: () => call(statusReport, 'GET', '/status'),
    flush: async () => void (await call(z.object({}), 'POST', '/flush')),
    listVolumes: async () => (await call(volumeList, 'GET', '/volumes')).volumes,
    createVolume: (name, sizeBytes) => call(volumeReport, 'POST', '/volumes', { name, sizeBytes }),
    resizeVolume: (name, sizeBytes, force) =>
      call(volumeReport, 'POST', `${volumeUrl(name)}/resize`, { sizeBytes, force }),
    removeVolume: async (name) => void (await call(z.object({}), 'DELETE', volumeUrl(name))),
  };
}

interface Reply {
  readonly status: number;
  readonly text: string;
}

function exchange(path: string, method: string, url: string, body: unknown): Promise<Reply> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const headers = payload === undefined ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    // `agent: false`: one connection per call, so that nothing keeps a finished command alive.
    const sent = request({ socketPath: path, method, path: url, headers, agent: false });
    sent.once('error', (cause: NodeJS.ErrnoException) => reject(unreachableError(path, cause)));
    sent.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
        if (text.length > REPLY_BYTES_MAX) response.destroy(new Error('the reply is too long'));
      });
      response.once('error', (cause) => reject(unreachableError(path, cause)));
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.end(payload);
  });
}

function unreachableError(path: string, cause: NodeJS.ErrnoException): StorageError {
  const nobody = cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED';
  const message = nobody
    ? `no server runs at ${path}: start one with "varve serve", or name its --state or --config`
    : `the server at ${path} cannot be asked: ${cause.message}`;
  return new StorageError('unavailable', message, { cause });
}

function parseReply(path: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new StorageError('unavailable', `what answers at ${path} is no varve server`, { cause });
  }
}

function reportedError(path: string, status: number, reply: unknown): StorageError {
  const result = errorReport.safeParse(reply);
  if (!result.success) {
    return new StorageError('unavailable', `the server at ${path} answered with HTTP ${status}`);
  }
  const { kind, message } = result.data.error;
  return new StorageError(isKind(kind) ? kind : 'unavailable', message);
}

function isKind(kind: string): kind is StorageErrorKind {
  return Object.hasOwn(STATUS_OF_KIND, kind);
}
