// What becomes of each request that a fault proxy takes: passed on as it is, or harmed in one way.
//
// Only what must be sent again or later is held in memory, within BODIES_BYTES_MAX; what does not
// fit is passed on unharmed and counted as skipped. When the server fails, the client's connection
// is reset.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Decision, Fault, FaultPlan } from './fault-proxy-plan.ts';
import { withoutNewest } from './fault-proxy-stale.ts';
import { Bandwidth, BodyBudget, collect, cutter, reset } from './fault-proxy-streams.ts';
import { endToEnd, type Upstream } from './fault-proxy-upstream.ts';

const BODIES_BYTES_MAX = 64 * 1024 * 1024;
const LISTING_BYTES_MAX = 8 * 1024 * 1024;
/** Requests that wait to be late. */
const LATE_MAX = 256;

interface ForwardOptions {
  /** Instead of what the request still brings. */
  readonly body?: Buffer;
  /** When it leaves before it has its answer, the server sees its connection break. */
  readonly client?: ServerResponse;
}

export class Exchanges {
  readonly counts = { requests: 0, forwarded: 0, serverFailures: 0, skipped: 0 };
  readonly faults: Partial<Record<Fault, number>> = {};
  readonly bandwidth = new Bandwidth();
  readonly #plan: FaultPlan;
  readonly #upstream: Upstream;
  readonly #budget = new BodyBudget(BODIES_BYTES_MAX);
  readonly #late = new Set<NodeJS.Timeout>();

  constructor(plan: FaultPlan, upstream: Upstream) {
    this.#plan = plan;
    this.#upstream = upstream;
  }

  /** Those that wait to be late never come. */
  close(): void {
    for (const timer of this.#late) clearTimeout(timer);
    this.#late.clear();
    this.#upstream.close();
  }

  /** Never throws. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.counts.requests += 1;
    // A stream that is destroyed forgets its socket.
    const { socket } = request;
    const decision = this.#plan.decide({
      method: request.method ?? 'GET',
      target: request.url ?? '/',
      hasBody: bodyBytesOf(request) !== 0,
    });
    request.on('error', () => {});
    response.on('error', () => {});
    try {
      if (decision.delayMs > 0) await delay(decision.delayMs);
      if (socket.destroyed) return;
      await this.#act(request, response, decision);
    } catch {
      // It was cut, or the client left, or the server did: either way this exchange is over.
      reset(socket);
    }
  }

  async #act(
    request: IncomingMessage,
    response: ServerResponse,
    { fault, cutAt }: Decision,
  ): Promise<void> {
    const { socket } = request;
    const held = fault === 'duplicate' || fault === 'late';
    const bytes = bodyBytesOf(request);
    const full = fault === 'late' && this.#late.size >= LATE_MAX;
    if (held && (full || bytes === undefined || !this.#budget.take(bytes))) {
      this.counts.skipped += 1;
      return this.#pass(request, response);
    }
    if (fault !== undefined) this.faults[fault] = (this.faults[fault] ?? 0) + 1;
    switch (fault) {
      case undefined:
        return this.#pass(request, response);
      case 'slowDown':
        return answerError(request, response, 503, 'SlowDown');
      case 'internalError':
        return answerError(request, response, 500, 'InternalError');
      case 'tooMany': {
        const seconds = String(this.#plan.settings.retryAfterSeconds);
        return answerError(request, response, 429, 'TooManyRequests', { 'retry-after': seconds });
      }
      case 'blackHole':
        return;
      case 'cutBefore':
        reset(socket);
        return;
      case 'cutDuring': {
        const { out } = this.#ask(request);
        await pipeline(request, cutter(Math.floor(cutAt * (bytes ?? 0))), out);
        return;
      }
      case 'cutAfter':
        await drain(request);
        reset(socket);
        return;
      case 'cutResponse':
        return this.#pass(request, response, cutAt);
      case 'loseReply':
        await drain(await this.#forward(request));
        reset(socket);
        return;
      case 'staleList':
        return this.#passStale(request, response);
      case 'duplicate':
        return this.#passTwice(request, response, bytes ?? 0);
      case 'late':
        return this.#passLate(request, bytes ?? 0);
    }
  }

  #ask(request: IncomingMessage) {
    this.counts.forwarded += 1;
    const { socket } = request;
    const asked = this.#upstream.ask(request);
    asked.answer.catch(() => {
      if (!socket.destroyed) this.counts.serverFailures += 1;
    });
    return asked;
  }

  /** Resolves with the answer's head. */
  async #forward(request: IncomingMessage, { body, client }: ForwardOptions = {}) {
    const { out, answer } = this.#ask(request);
    client?.once('close', () => {
      if (!client.writableFinished) out.destroy();
    });
    if (body === undefined) pipeline(request, this.bandwidth.limiter(), out).catch(() => {});
    else out.end(body);
    return answer;
  }

  async #pass(request: IncomingMessage, response: ServerResponse, cutAt?: number): Promise<void> {
    const answer = await this.#forward(request, { client: response });
    return this.#return(answer, response, cutAt);
  }

  async #return(answer: IncomingMessage, response: ServerResponse, cutAt?: number): Promise<void> {
    writeHead(answer, response);
    const limiter = this.bandwidth.limiter();
    const bytes = bodyBytesOf(answer) ?? 0;
    if (cutAt === undefined || bytes === 0) return pipeline(answer, limiter, response);
    return pipeline(answer, limiter, cutter(Math.floor(cutAt * bytes)), response);
  }

  async #passStale(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await this.#forward(request, { client: response });
    const body = await collect(answer, LISTING_BYTES_MAX);
    const { staleMs } = this.#plan.settings;
    const text = Buffer.from(withoutNewest(body.toString(), Date.now(), staleMs));
    writeHead(answer, response, text.length);
    response.end(text);
  }

  async #passTwice(
    request: IncomingMessage,
    response: ServerResponse,
    bytes: number,
  ): Promise<void> {
    try {
      const body = await collect(request, bytes);
      await drain(await this.#forward(request, { body }));
      const second = await this.#forward(request, { body });
      await this.#return(second, response);
    } finally {
      this.#budget.give(bytes);
    }
  }

  async #passLate(request: IncomingMessage, bytes: number): Promise<void> {
    const { socket } = request;
    let body: Buffer;
    try {
      body = await collect(request, bytes);
    } catch (error) {
      this.#budget.give(bytes);
      throw error;
    }
    reset(socket);
    const timer = setTimeout(() => {
      this.#late.delete(timer);
      this.#forward(request, { body })
        .then(drain)
        // Nobody waits for the answer.
        .catch(() => {})
        .finally(() => this.#budget.give(bytes));
    }, this.#plan.settings.lateMs);
    this.#late.add(timer);
  }
}

function writeHead(answer: IncomingMessage, response: ServerResponse, bytes?: number): void {
  response.sendDate = false;
  let headers = endToEnd(answer.rawHeaders);
  if (bytes !== undefined) {
    headers = headers.filter((_, i) => !/^content-length$/i.test(headers[i - (i % 2)]!));
    headers.push('Content-Length', String(bytes));
  }
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? '', headers);
}

/** The body is read first: a client that still writes would see a reset instead of the answer. */
async function answerError(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  code: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  await drain(request);
  const document = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code></Error>`;
  response.writeHead(status, {
    'content-type': 'application/xml',
    'content-length': document.length,
    ...headers,
  });
  response.end(request.method === 'HEAD' ? '' : document);
}

/** Undefined when the length was not announced. */
function bodyBytesOf({ headers }: IncomingMessage): number | undefined {
  if (headers['transfer-encoding'] !== undefined) return undefined;
  return Number(headers['content-length'] ?? 0);
}

async function drain(stream: IncomingMessage): Promise<void> {
  for await (const _ of stream);
}

function delay(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}
