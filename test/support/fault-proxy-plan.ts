// What a fault proxy does to which request: settings, and one seeded decision per request.
//
// Every request takes the same three numbers from the generator, whatever comes of it, so that the
// n-th request of a run meets the same fate as the n-th of another run with the same seed.

import { z } from 'zod';
import { createSeededRng, type Rng } from '../../src/base/rng.ts';

export const FAULTS = [
  /** 503 with S3's SlowDown; the request goes nowhere. */
  'slowDown',
  /** 429 with Retry-After. */
  'tooMany',
  /** 500 with S3's InternalError. */
  'internalError',
  /** No answer, ever: the connection stays open until the client gives up. */
  'blackHole',
  /** Reset before the body is read. */
  'cutBefore',
  /** A part of the body reaches the server, then both connections break. */
  'cutDuring',
  /** Reset when the whole body was read; nothing reaches the server. */
  'cutAfter',
  /** The answer's body breaks off. */
  'cutResponse',
  /** Sent twice, one after the other; the second answer is returned. */
  'duplicate',
  /** Reset at once; the request reaches the server `lateMs` later all the same. */
  'late',
  /** The server does it; its answer is dropped and the connection reset. */
  'loseReply',
  /** A listing without what was put in the last `staleMs`. */
  'staleList',
] as const;

export type Fault = (typeof FAULTS)[number];

const ms = z.number().min(0).max(600_000);
const method = z.enum(['GET', 'HEAD', 'PUT', 'POST', 'DELETE']);

/** Which requests may meet a fault. Absent: all of them. */
const selection = {
  method: method.optional(),
  /** Part of the path and query. */
  path: z.string().optional(),
};

export const proxySettings = z.strictObject({
  /** How likely each fault is, 0 to 1; a request meets one at most. */
  faults: z.partialRecord(z.enum(FAULTS), z.number().min(0).max(1)).default({}),
  ...selection,
  /** Added to every request. */
  latencyMs: ms.default(0),
  /** And up to so much more, at random. */
  jitterMs: ms.default(0),
  /** Of bodies, both directions and all connections together; 0: no limit. */
  bytesPerSecond: z.number().min(0).default(0),
  lateMs: ms.default(2000),
  staleMs: ms.default(2000),
  retryAfterSeconds: z.int().min(0).max(3600).default(1),
});

export const nextFault = z.strictObject({
  fault: z.enum(FAULTS),
  /** How many requests meet it. */
  count: z.int().min(1).default(1),
  ...selection,
});

export type ProxySettings = z.output<typeof proxySettings>;
export type ProxySettingsInput = z.input<typeof proxySettings>;
export type NextFault = z.input<typeof nextFault>;

export interface RequestFacts {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly hasBody: boolean;
}

export interface Decision {
  readonly fault: Fault | undefined;
  readonly delayMs: number;
  /** Where a body is cut, as a part of its length. */
  readonly cutAt: number;
}

export class FaultPlan {
  settings: ProxySettings = proxySettings.parse({});
  readonly #rng: Rng;
  #ordered: { -readonly [K in keyof z.output<typeof nextFault>]: z.output<typeof nextFault>[K] }[] =
    [];

  constructor(seed: number) {
    this.#rng = createSeededRng(seed);
  }

  /** These go before chance, in the order in which they were asked for. */
  order(next: NextFault): void {
    this.#ordered.push(nextFault.parse(next));
  }

  decide(request: RequestFacts): Decision {
    const [delay, luck, cutAt] = [this.#rng.float(), this.#rng.float(), this.#rng.float()];
    const { latencyMs, jitterMs } = this.settings;
    const fault = this.#takeOrdered(request) ?? this.#drawn(request, luck);
    return { fault, delayMs: latencyMs + jitterMs * delay, cutAt };
  }

  #takeOrdered(request: RequestFacts): Fault | undefined {
    const next = this.#ordered.find(
      (one) => selects(one, request) && canHappen(one.fault, request),
    );
    if (next === undefined) return undefined;
    next.count -= 1;
    if (next.count === 0) this.#ordered = this.#ordered.filter((one) => one !== next);
    return next.fault;
  }

  #drawn(request: RequestFacts, luck: number): Fault | undefined {
    if (!selects(this.settings, request)) return undefined;
    let sum = 0;
    for (const fault of FAULTS) {
      if (!canHappen(fault, request)) continue;
      sum += this.settings.faults[fault] ?? 0;
      if (luck < sum) return fault;
    }
    return undefined;
  }
}

function selects(
  { method: wanted, path }: { method?: string | undefined; path?: string | undefined },
  request: RequestFacts,
): boolean {
  if (wanted !== undefined && wanted !== request.method) return false;
  return path === undefined || request.target.includes(path);
}

function canHappen(fault: Fault, { method: verb, target, hasBody }: RequestFacts): boolean {
  const list = verb === 'GET' && /[?&]list-type=/.test(target);
  if (fault === 'staleList') return list;
  if (fault === 'cutDuring') return hasBody;
  if (fault === 'cutResponse') return verb === 'GET';
  // What comes late matters only when it changes something.
  if (fault === 'late') return verb !== 'GET' && verb !== 'HEAD';
  return true;
}
