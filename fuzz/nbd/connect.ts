// Feeds one client's bytes to the connection's state machine, over a wire in memory, on a device
// whose calls settle at random, or fail. Checked after every stream:
//
//   - nothing throws, and the connection ends when its input has ended (no hang, no leaked handle);
//   - the limits hold: requests under way, bytes that the wire has not taken, buffers handed out by
//     the pool.

import { StorageError } from '../../src/base/errors.ts';
import type { Log } from '../../src/base/log.ts';
import type { Rng } from '../../src/base/rng.ts';
import { systemClock } from '../../src/base/system.ts';
import { BufferPool } from '../../src/server/nbd/buffer-pool.ts';
import { ByteBudget } from '../../src/server/nbd/byte-budget.ts';
import { Connection } from '../../src/server/nbd/connection.ts';
import { createCounters, type NbdCounters } from '../../src/server/nbd/counters.ts';
import {
  CONNECTION_BYTES_MAX,
  IN_FLIGHT_REQUESTS_MAX,
  SHARED_BYTES_MAX,
  SLAB_BYTES,
  UNSENT_BYTES_MAX,
} from '../../src/server/nbd/limits.ts';
import type { Wire } from '../../src/server/nbd/wire.ts';
import {
  createMemoryVolume,
  memoryDirectory,
  type MemoryVolume,
  wipeMemoryVolume,
} from '../../test/support/memory-device.ts';
import { expect } from '../target.ts';
import { chance, pick, upTo, VOLUME_BYTES } from './generate.ts';

const MIB = 1024 * 1024;
/** The largest reply there can be: a whole volume, its header, and what was packed beside it. */
const REPLY_BYTES_MAX = VOLUME_BYTES + MIB;
const POOL_BYTES = 8 * MIB;
/** Turns that a connection may take to end once its input has; each settles all that waits. */
const TURNS_MAX = 20_000;

class TrackingPool extends BufferPool {
  outBytes = 0;

  override take(bytes: number): Buffer {
    const buffer = super.take(bytes);
    this.outBytes += buffer.length;
    return buffer;
  }

  override give(buffer: Buffer): void {
    this.outBytes -= buffer.length;
    super.give(buffer);
  }
}

/** Of what the server sent, kept for what comes after it. */
const SENT_KEPT_BYTES = 4 * MIB;

/** One growing buffer: replies are copied once. */
class Sent {
  #bytes = Buffer.allocUnsafeSlow(SENT_KEPT_BYTES);
  length = 0;

  add(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) {
      const end = this.length + chunk.length;
      if (end > this.#bytes.length) {
        const grown = Buffer.allocUnsafeSlow(Math.max(end, this.#bytes.length * 2));
        this.#bytes.copy(grown, 0, 0, this.length);
        this.#bytes = grown;
      }
      this.#bytes.set(chunk, this.length);
      this.length = end;
    }
  }

  /** Borrowed, until it is cleared. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
    if (this.#bytes.length > SENT_KEPT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(SENT_KEPT_BYTES);
  }
}

/**
 * What one conversation leaves to the next, since to make it costs more than to converse. Each
 * finds it as if it were new; one that failed leaves nothing.
 */
class Stage {
  readonly pool = new TrackingPool(POOL_BYTES);
  readonly volume = createMemoryVolume('disk', VOLUME_BYTES);
  readonly sent = new Sent();

  clean(): void {
    wipeMemoryVolume(this.volume);
    this.sent.clear();
  }
}

interface World {
  readonly wire: Wire;
  readonly waiting: (() => void)[];
  unsentBytes: number;
  mostUnsentBytes: number;
  paused: boolean;
  over: boolean;
}

function createWorld(sent: Sent): World {
  const world: World = {
    waiting: [],
    unsentBytes: 0,
    mostUnsentBytes: 0,
    paused: false,
    over: false,
    wire: {
      send(chunks, onSent) {
        const bytes = chunks.reduce((sum, one) => sum + one.length, 0);
        world.unsentBytes += bytes;
        world.mostUnsentBytes = Math.max(world.mostUnsentBytes, world.unsentBytes);
        world.waiting.push(() => {
          world.unsentBytes -= bytes;
          sent.add(chunks);
          onSent();
        });
      },
      pause: () => (world.paused = true),
      resume: () => (world.paused = false),
      end: () => (world.over = true),
      destroy: () => (world.over = true),
    },
  };
  return world;
}

/** Calls of the device that wait to be settled, at random. */
class Gate {
  readonly #rng: Rng;
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;
  mostUnderWay = 0;

  constructor(rng: Rng, volume: MemoryVolume) {
    this.#rng = rng;
    const slow = pick(rng, [0, 0.1, 0.9]);
    volume.gate = () => (chance(rng, slow) ? this.#wait() : undefined);
  }

  settleSome(): void {
    const some = this.#waiting.splice(0, upTo(this.#rng, this.#waiting.length + 1));
    for (const one of some) one();
  }

  #wait(): Promise<void> {
    this.#underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.#underWay);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push(() => {
      this.#underWay -= 1;
      if (chance(this.#rng, 0.1)) reject(new StorageError('unavailable', 'planted'));
      else resolve();
    });
    return promise;
  }
}

export interface Conversed {
  /** What the server sent. Borrowed, until another one begins. */
  readonly sent: Buffer;
  /** That were carried out, or refused with a reply. */
  readonly requests: number;
}

/** One conversation after another: `converse` is not called again before it has ended. */
export class Converser {
  #stage: Stage | undefined;

  /** `intact`: the client keeps to the protocol, and must not be dropped. */
  async converse(rng: Rng, bytes: Uint8Array, intact: boolean): Promise<Conversed> {
    const stage = this.#stage ?? new Stage();
    this.#stage = undefined;
    stage.clean();
    const conversed = await converseOn(stage, rng, bytes, intact);
    this.#stage = stage;
    return conversed;
  }
}

async function converseOn(
  { pool, volume, sent }: Stage,
  rng: Rng,
  bytes: Uint8Array,
  intact: boolean,
): Promise<Conversed> {
  const gate = new Gate(rng, volume);
  const bugs: unknown[] = [];
  const note = (event: string, fields?: unknown): void => {
    if (event === 'nbd.connection.bug') bugs.push(fields);
    if (event === 'nbd.connection.failed' && intact) bugs.push(fields);
    if (event === 'nbd.request.failed' && JSON.stringify(fields).includes('"bug"'))
      bugs.push(fields);
  };
  const log: Log = { debug: note, info: note, warn: note, error: note };
  const world = createWorld(sent);
  const counters = createCounters();
  // Often so little that requests wait for it.
  const budget = new ByteBudget(pick(rng, [1, MIB, SHARED_BYTES_MAX]), systemClock);
  const deps = {
    directory: memoryDirectory([volume]),
    pool,
    budget,
    counters,
    clock: { ...systemClock, after: () => () => {} },
    log,
  };
  const connection = new Connection(deps, { handshakeMs: 1 }, world.wire);
  await feed(rng, connection, world, gate, bytes);
  expect(bugs.length === 0, `no bug was met: ${JSON.stringify(bugs)}`);
  expect(volume.openHandles === 0, 'the handle is closed');
  expect(pool.outBytes === 0, `every buffer is back (${pool.outBytes} bytes are not)`);
  expect(gate.mostUnderWay <= IN_FLIGHT_REQUESTS_MAX, 'requests under way are bounded');
  const underWayBytesMax = gate.mostUnderWay * REPLY_BYTES_MAX;
  const unsentBytesMax = Math.min(
    UNSENT_BYTES_MAX + REPLY_BYTES_MAX + underWayBytesMax,
    // Short replies need no room of their own: up to a limit in one turn, and those under way.
    CONNECTION_BYTES_MAX + UNSENT_BYTES_MAX + 2 * SLAB_BYTES,
  );
  expect(world.mostUnsentBytes <= unsentBytesMax, 'unsent bytes are bounded');
  expect(budget.bytes === 0, 'the others have all of the memory back');
  return { sent: sent.view(), requests: requestsOf(counters) };
}

function requestsOf(counters: NbdCounters): number {
  const { reads, writes, flushes, trims, zeroes, statuses, caches } = counters;
  return reads + writes + flushes + trims + zeroes + statuses + caches;
}

async function feed(
  rng: Rng,
  connection: Connection,
  world: World,
  gate: Gate,
  bytes: Uint8Array,
): Promise<void> {
  let done = false;
  void connection.done.then(() => (done = true));
  let at = 0;
  let ended = false;
  let closed = false;
  for (let turn = 0; !done; turn++) {
    expect(turn < TURNS_MAX, 'a connection ends when its input has ended');
    // A socket that was paused may still deliver what it had read.
    const flows = !world.paused || chance(rng, 0.01);
    if (!world.over && flows && at < bytes.length) {
      const next = Math.min(bytes.length, at + 1 + upTo(rng, pick(rng, [10, 3000, 65_536])));
      connection.receive(Buffer.from(bytes.buffer, bytes.byteOffset + at, next - at));
      at = next;
    } else if (!world.over && !world.paused && !ended) {
      ended = true;
      connection.receiveEnd();
    }
    const sent = world.waiting.splice(0, chance(rng, 0.7) ? world.waiting.length : 0);
    for (const one of sent) one();
    gate.settleSome();
    if (world.over && world.waiting.length === 0 && !closed) {
      closed = true;
      connection.closed();
    }
    await systemClock.yieldTurn();
  }
  for (const one of world.waiting.splice(0)) one();
}
