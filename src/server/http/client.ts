// The other end of the admin socket: what the command line uses to speak to a running server.
// An error that the server reports comes back as the same StorageError kind, so exit codes carry
// over.

import { request } from 'node:http';
import { z } from 'zod';
import { StorageError, type StorageErrorKind } from '../../base/errors.ts';
import { branchList, branchReport, collectReport, errorReport, progressReport } from './report.ts';
import { snapshotList, snapshotReport, statusReport, upgradeReport } from './report.ts';
import { volumeList, volumeReport } from './report.ts';
import type {
  BranchReport,
  CollectReport,
  OnProgress,
  ProgressReport,
  SnapshotReport,
  SnapshotUsageReport,
  StatusReport,
  UpgradeReport,
  VolumeReport,
  VolumeUsageReport,
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
  listSnapshots(): Promise<readonly SnapshotUsageReport[]>;
  createSnapshot(name: string): Promise<SnapshotReport>;
  deleteSnapshot(name: string): Promise<void>;
  restore(snapshot: string): Promise<void>;
  listBranches(): Promise<readonly BranchReport[]>;
  createBranch(name: string, from: string | undefined): Promise<BranchReport>;
  deleteBranch(name: string): Promise<void>;
  /** Takes as long as it takes: there is no time limit. */
  collect(onProgress: OnProgress): Promise<CollectReport>;
  /** Replaces the server's process. */
  upgrade(onProgress: OnProgress): Promise<UpgradeReport>;
}

/** Every call throws `unavailable` when no server runs at `path`. */
export function createAdminClient(path: string): AdminClient {
  async function call<T extends z.ZodType>(
    shape: T,
    method: string,
    url: string,
    body?: unknown,
    onProgress: OnProgress = () => {},
  ): Promise<z.output<T>> {
    const { status, text } = await exchange(path, { method, url, body, onProgress });
    const reply = parseReply(path, text);
    // An error that came after news has no status of its own.
    if (status !== 200 || errorReport.safeParse(reply).success) {
      throw reportedError(path, status, reply);
    }
    const result = shape.safeParse(reply);
    if (result.success) return result.data;
    throw new StorageError(
      'unavailable',
      `the server at ${path} answers in another form: is it another version of varve?`,
      { cause: result.error, retryable: false },
    );
  }
  const nothing = z.object({});
  const at = (what: string, name: string): string => `/${what}/${encodeURIComponent(name)}`;
  return {
    status: () => call(statusReport, 'GET', '/status'),
    flush: async () => void (await call(nothing, 'POST', '/flush')),
    listVolumes: async () => (await call(volumeList, 'GET', '/volumes')).volumes,
    createVolume: (name, sizeBytes) => call(volumeReport, 'POST', '/volumes', { name, sizeBytes }),
    resizeVolume: (name, sizeBytes, force) =>
      call(volumeReport, 'POST', `${at('volumes', name)}/resize`, { sizeBytes, force }),
    removeVolume: async (name) => void (await call(nothing, 'DELETE', at('volumes', name))),
    listSnapshots: async () => (await call(snapshotList, 'GET', '/snapshots')).snapshots,
    createSnapshot: (name) => call(snapshotReport, 'POST', '/snapshots', { name }),
    deleteSnapshot: async (name) => void (await call(nothing, 'DELETE', at('snapshots', name))),
    restore: async (name) => void (await call(nothing, 'POST', `${at('snapshots', name)}/restore`)),
    listBranches: async () => (await call(branchList, 'GET', '/branches')).branches,
    createBranch: (name, from) => call(branchReport, 'POST', '/branches', { name, from }),
    deleteBranch: async (name) => void (await call(nothing, 'DELETE', at('branches', name))),
    upgrade: (onProgress) => call(upgradeReport, 'POST', '/upgrade', undefined, onProgress),
    collect: (onProgress) => call(collectReport, 'POST', '/collection', undefined, onProgress),
  };
}

interface Reply {
  readonly status: number;
  readonly text: string;
}

interface Question {
  readonly method: string;
  readonly url: string;
  readonly body: unknown;
  readonly onProgress: OnProgress;
}

function exchange(path: string, { method, url, body, onProgress }: Question): Promise<Reply> {
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
        text = withoutProgress(text + part, onProgress);
        if (text.length > REPLY_BYTES_MAX) response.destroy(new Error('the reply is too long'));
      });
      response.once('error', (cause) => reject(unreachableError(path, cause)));
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.end(payload);
  });
}

/** Tells the progress that `text` begins with; what is left is the answer, as far as it is here. */
function withoutProgress(text: string, onProgress: OnProgress): string {
  let rest = text;
  while (rest.startsWith('{"progress":') && rest.includes('\n')) {
    const end = rest.indexOf('\n');
    const told = progressOf(rest.slice(0, end));
    // Not ours: it is refused with the answer.
    if (told === undefined) break;
    onProgress(told.what, told.done, told.total);
    rest = rest.slice(end + 1);
  }
  return rest;
}

function progressOf(line: string): ProgressReport['progress'] | undefined {
  try {
    return progressReport.safeParse(JSON.parse(line)).data?.progress;
  } catch {
    return undefined;
  }
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
