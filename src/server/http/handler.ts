// Answers one HTTP request out of the route table, on whatever socket it came.
//
//   request → guard → /metrics, or route table → zod-checked body → service → 200 with JSON
//   any StorageError → its status with { error: { kind, message } }; anything else → 500
//   `unavailable`, logged
//
// A route that takes long may tell how far it is. The reply then is 200 and lines of JSON, as
// many { progress } as there are, and last the answer or the error.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { isStorageError, messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Guard } from './guard.ts';
import { METRICS_CONTENT_TYPE, metricsText } from './metrics.ts';
import type { ProgressReport } from './report.ts';
import { type AdminService, findRoute, STATUS_OF_KIND } from './routes.ts';

/** Far above any body that the routes take. */
const BODY_BYTES_MAX = 64 * 1024;

export interface HandlerDeps {
  readonly service: AdminService;
  readonly log: Log;
  /** Aborted when the server stops. */
  readonly stopping: AbortSignal;
  /** Absent: who can connect may do everything. */
  readonly guard?: Guard | undefined;
}

/** What `node:http` calls for each request. */
export function createHandler(
  deps: HandlerDeps,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    answer(deps, request, response).catch((error: unknown) => {
      deps.log.warn('admin.reply.failed', { error });
      response.destroy();
    });
  };
}

async function answer(
  deps: HandlerDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const refused = deps.guard?.(request);
  if (refused !== undefined) {
    if (refused.status === 401) response.setHeader('www-authenticate', 'Bearer');
    const { status, message } = refused;
    return sendJson(request, response, status, { error: { kind: 'denied', message } });
  }
  let status = 200;
  let reply: unknown;
  try {
    if (request.method === 'GET' && request.url?.split('?', 1)[0] === '/metrics') {
      const text = metricsText(await deps.service.status());
      return send(request, response, 200, METRICS_CONTENT_TYPE, text);
    }
    reply = await run(deps, request, response);
  } catch (error) {
    const known = isStorageError(error) ? error : undefined;
    if (known === undefined) deps.log.error('admin.request.failed', { url: request.url, error });
    status = STATUS_OF_KIND[known?.kind ?? 'unavailable'];
    const message = known?.message ?? `internal error: ${messageOf(error)}`;
    reply = { error: { kind: known?.kind ?? 'unavailable', message } };
  }
  sendJson(request, response, status, reply);
}

async function run(
  { service, stopping }: HandlerDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<unknown> {
  const gone = new AbortController();
  response.once('close', () => gone.abort(new StorageError('aborted', 'the client is gone')));
  const { handle, name } = findRoute(request.method ?? '', request.url ?? '');
  const body = await readJson(request);
  return handle(service, {
    name,
    body,
    onProgress: (what, done, total) => tell(response, { what, done, total }),
    signal: AbortSignal.any([gone.signal, stopping]),
  });
}

function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  reply: unknown,
): void {
  send(request, response, status, 'application/json', `${JSON.stringify(reply)}\n`);
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  type: string,
  text: string,
): void {
  const body = Buffer.from(text);
  if (response.headersSent) return void response.end(body);
  response.writeHead(status, {
    'content-type': type,
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // What was not read of an oversized body must not be taken for the next request.
    ...(request.complete ? {} : { connection: 'close' }),
  });
  response.end(body);
}

function tell(response: ServerResponse, progress: ProgressReport['progress']): void {
  // It is only news: what a client does not read is not kept for it.
  if (response.destroyed || response.writableNeedDrain) return;
  if (!response.headersSent) {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  }
  response.write(`${JSON.stringify({ progress })}\n`);
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of request as AsyncIterable<Buffer>) {
      length += part.length;
      if (length > BODY_BYTES_MAX) {
        throw new StorageError('invalid', `the body is longer than ${BODY_BYTES_MAX} bytes`);
      }
      parts.push(part);
    }
  } catch (cause) {
    if (!request.destroyed || cause instanceof StorageError) throw cause;
    throw new StorageError('aborted', 'the client left within its request', { cause });
  }
  if (length === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
  } catch (cause) {
    throw new StorageError('invalid', 'the body is not JSON', { cause });
  }
}
