// One HTTP request at a time per connection, over bounded pools of kept-alive connections
// (undici): one for each lane (lanes.ts), so that what hangs in one holds up no other.
//
// A request settles once: as exchange.ts says, or with `unavailable` when it is out of time.
//
//     waiting for a permit ──▶ on the wire ──▶ headers ──▶ body ──▶ whole
//          └──────────── signal or deadline: settled, connection destroyed

import type { LookupFunction } from 'node:net';
import { lookup as systemLookup } from 'node:dns';
import { Pool } from 'undici';
import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { StorageError } from '../../base/errors.ts';
import { Semaphore } from '../../base/semaphore.ts';
import { Deadline } from '../deadline.ts';
import type { Lane } from '../lanes.ts';
import { exchange, type HttpRequest, type HttpResponse } from './exchange.ts';

export interface HttpSettings {
  /** Scheme, host and port. */
  readonly origin: string;
  readonly clock: Clock;
  /** Requests on the wire, and connections, of each lane. */
  readonly connections: Readonly<Record<Lane, number>>;
  /** An idle connection is closed after this. */
  readonly keepAliveMs: number;
  readonly connectTimeoutMs: number;
  /** From the permit to the last byte of the response. */
  readonly requestTimeoutMs: number;
}

interface LanePool {
  readonly pool: Pool;
  readonly permits: Semaphore;
}

export class HttpClient {
  readonly #lanes: Readonly<Record<Lane, LanePool>>;
  readonly #settings: HttpSettings;

  constructor(settings: HttpSettings) {
    this.#settings = settings;
    const { read, commit, background } = settings.connections;
    this.#lanes = {
      read: openLane(settings, read),
      commit: openLane(settings, commit),
      background: openLane(settings, background),
    };
  }

  /** Sends `request` and collects the whole response, whatever its status. */
  async send(request: HttpRequest): Promise<HttpResponse> {
    const { pool, permits } = this.#lanes[request.lane];
    await permits.acquire(1, request.signal);
    const deadline = new Deadline(this.#settings.clock, request.signal);
    try {
      deadline.arm(this.#settings.requestTimeoutMs);
      return await exchange(pool, request, deadline.signal);
    } catch (error) {
      throw deadline.explain(error, request.what);
    } finally {
      deadline.dispose();
      permits.release();
    }
  }

  /** Closes the connections. No request may be under way. */
  async close(): Promise<void> {
    const lanes = Object.values(this.#lanes);
    for (const { permits } of lanes) {
      assert(permits.free === permits.capacity, 'no request is under way at close');
      permits.close(new StorageError('aborted', 'the store is closed'));
    }
    await Promise.all(lanes.map(({ pool }) => pool.destroy()));
  }
}

function openLane(settings: HttpSettings, connections: number): LanePool {
  const pool = new Pool(settings.origin, {
    connections,
    pipelining: 1,
    keepAliveTimeout: settings.keepAliveMs,
    // Our own deadline covers headers and body, and belongs to the Clock.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: settings.connectTimeoutMs, lookup: lookupHost },
  });
  return { pool, permits: new Semaphore(connections) };
}

/** RFC 6761 §6.3: names below localhost are this machine, which resolvers do not all know. */
const lookupHost: LookupFunction = (hostname, options, callback) => {
  const host = hostname.endsWith('.localhost') ? 'localhost' : hostname;
  systemLookup(host, options, callback);
};
