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
const REPLY_CHARACTERS_MAX = 16 * 1024 * 1024;
/** What a line of progress begins with. */
const PROGRESS_START = '{"progress":';

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

interface Question {
  readonly method: string;
  readonly url: string;
  readonly body: unknown;
}

/**
 * Asks a server: `onText` gets the answer part by part, and may refuse it by throwing. Resolves
 * with the status when the answer has ended.
 */
export type Ask = (question: Question, onText: (part: string) => void) => Promise<number>;

/** Every call throws `unavailable` when no server runs at `path`. */
export function createAdminClient(path: string, ask: Ask = askAt(path)): AdminClient {
  async function call<T extends z.ZodType>(
    shape: T,
    method: string,
    url: string,
    body?: unknown,
    onProgress: OnProgress = () => {},
  ): Promise<z.output<T>> {
    const answer = new AnswerText(onProgress);
    const status = await ask({ method, url, body }, (part) => {
      answer.add(part);
      if (answer.length > REPLY_CHARACTERS_MAX)
        throw new StorageError('unavailable', `the reply of the server at ${path} is too long`);
    });
    const reply = parseReply(path, answer.text());
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

function askAt(path: string): Ask {
  return ({ method, url, body }, onText) => {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers = payload === undefined ? {} : { 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      // `agent: false`: one connection per call, so that nothing keeps a finished command alive.
      const sent = request({ socketPath: path, method, path: url, headers, agent: false });
      sent.once('error', (cause: NodeJS.ErrnoException) => reject(unreachableError(path, cause)));
      sent.once('response', (response) => {
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          try {
            onText(part);
          } catch (error) {
            reject(error);
            response.destroy();
          }
        });
        response.once('error', (cause) => reject(unreachableError(path, cause)));
        response.once('end', () => resolve(response.statusCode ?? 0));
      });
      sent.end(payload);
    });
  };
}

/**
 * What a server says, part by part: tells the progress that it begins with, keeps the rest. Each
 * part is looked at once, however many there are.
 */
class AnswerText {
  readonly #onProgress: OnProgress;
  /** Of the line that has not ended yet; of all, once it is no progress any more. */
  #parts: string[] = [];
  #isProgress = true;
  /** Characters that are kept. */
  length = 0;

  constructor(onProgress: OnProgress) {
    this.#onProgress = onProgress;
  }

  add(part: string): void {
    this.#parts.push(part);
    this.length += part.length;
    if (this.#isProgress && part.includes('\n')) this.#tell();
  }

  text(): string {
    return this.#parts.join('');
  }

  #tell(): void {
    const text = this.text();
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      const told = progressOf(text.slice(start, end));
      // Not ours: it is refused with the answer.
      if (told === undefined) {
        this.#isProgress = false;
        break;
      }
      this.#onProgress(told.what, told.done, told.total);
      start = end + 1;
    }
    this.#parts = [text.slice(start)];
    this.length = text.length - start;
  }
}

function progressOf(line: string): ProgressReport['progress'] | undefined {
  if (!line.startsWith(PROGRESS_START)) return undefined;
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
