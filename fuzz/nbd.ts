// Fuzzes one NBD connection: mutated client byte streams, cut at random, go into the connection's
// state machine over a wire in memory, on a device whose calls settle at random, or fail. Checked
// after every stream:
//
//   - nothing throws, and the connection ends when its input has ended (no hang, no leaked handle);
//   - the limits hold: requests under way, bytes that the wire has not taken, buffers handed out by
//     the pool;
//   - in the transmission phase of a stream without mutation, the replies are well framed.
//
//   node fuzz/nbd.ts [--seconds N] [--seed N]
//
// A failure prints its seed; `--seed` with it runs that stream first.

import { parseArgs } from 'node:util';
import { assert } from '../src/base/assert.ts';
import { StorageError } from '../src/base/errors.ts';
import type { Log } from '../src/base/log.ts';
import { createSeededRng } from '../src/base/rng.ts';
import type { Rng } from '../src/base/rng.ts';
import { systemClock } from '../src/base/system.ts';
import { COMMAND, COMMAND_FLAG, OPTION } from '../src/proto/nbd/constants.ts';
import { BufferPool } from '../src/server/nbd/buffer-pool.ts';
import { Connection } from '../src/server/nbd/connection.ts';
import { createCounters } from '../src/server/nbd/counters.ts';
import { IN_FLIGHT_REQUESTS_MAX, UNSENT_BYTES_MAX } from '../src/server/nbd/limits.ts';
import type { Wire } from '../src/server/nbd/wire.ts';
import {
  contextData,
  decodeOptionReply,
  decodeReply,
  encodeClientFlags,
  encodeOption,
  encodeRequest,
  infoData,
  statusPayload,
  takeFrom,
} from '../test/nbd/client-codec.ts';
import { createMemoryVolume, memoryDirectory } from '../test/support/memory-device.ts';

const MIB = 1024 * 1024;
const VOLUME_BYTES = 4 * MIB;
/**
 * The largest reply there can be: a whole-volume read, its header, and what was packed beside it.
 */
const REPLY_BYTES_MAX = VOLUME_BYTES + MIB;
/** Turns that a connection may take to end once its input has; each settles all that waits. */
const TURNS_MAX = 20_000;
const SUMMARY_EVERY = 1000;

class TrackingPool extends BufferPool {
  outBytes = 0;
  mostBytes = 0;

  override take(bytes: number): Buffer {
    const buffer = super.take(bytes);
    this.outBytes += buffer.length;
    this.mostBytes = Math.max(this.mostBytes, this.outBytes);
    return buffer;
  }

  override give(buffer: Buffer): void {
    this.outBytes -= buffer.length;
    super.give(buffer);
  }
}

const pick = <T>(rng: Rng, items: readonly T[]): T =>
  items[Math.floor(rng.float() * items.length)]!;
const upTo = (rng: Rng, max: number): number => Math.floor(rng.float() * max);
const chance = (rng: Rng, share: number): boolean => rng.float() < share;

interface Stream {
  readonly bytes: Buffer;
  /** Whole requests, none of them mutated: the replies can be decoded. */
  readonly intact: boolean;
  readonly mode: 'simple' | 'structured' | 'extended';
  readonly options: number;
  /** Requests that get a reply. */
  readonly requests: number;
}

function createStream(rng: Rng): Stream {
  const mode = pick(rng, ['simple', 'structured', 'extended'] as const);
  const parts: Buffer[] = [encodeClientFlags(3)];
  let options = 0;
  const option = (code: number, data?: Uint8Array): void => {
    parts.push(encodeOption(code, data));
    options += 1;
  };
  if (mode === 'structured') option(OPTION.structuredReply);
  if (mode === 'extended') option(OPTION.extendedHeaders);
  for (let i = upTo(rng, 4); i > 0; i--) {
    const context = contextData('disk', ['base:allocation']);
    const any = pick(rng, [
      OPTION.list,
      OPTION.info,
      OPTION.startTls,
      4,
      99,
      OPTION.listMetaContext,
    ]);
    option(any, pick(rng, [infoData('disk', [3]), context, Buffer.alloc(upTo(rng, 300))]));
  }
  if (mode !== 'simple') option(OPTION.setMetaContext, contextData('disk', ['base:allocation']));
  option(OPTION.go, infoData('disk', chance(rng, 0.5) ? [3] : []));
  const count = upTo(rng, chance(rng, 0.05) ? 1500 : 40);
  for (let i = 0; i < count; i++) parts.push(createRequest(rng, mode === 'extended'));
  if (chance(rng, 0.5)) {
    parts.push(encodeRequest({ type: COMMAND.disconnect }, mode === 'extended'));
  }
  const bytes = Buffer.concat(parts);
  if (chance(rng, 0.4)) return { bytes, intact: true, mode, options, requests: count };
  return { bytes: mutate(rng, bytes), intact: false, mode, options, requests: 0 };
}

function createRequest(rng: Rng, extended: boolean): Buffer {
  const type = chance(rng, 0.05) ? upTo(rng, 0x10000) : pick(rng, [0, 0, 1, 1, 3, 4, 5, 6, 7]);
  const unit = pick(rng, [1, 512, 4096]);
  const offset = upTo(rng, VOLUME_BYTES / unit + 2) * unit;
  let length = upTo(rng, pick(rng, [2, 20, 400])) * unit;
  if (chance(rng, 0.02)) length = pick(rng, [2 ** 32 - 1, 33 * MIB, VOLUME_BYTES]);
  let flags = chance(rng, 0.3) ? upTo(rng, 64) & ~COMMAND_FLAG.payloadLength : 0;
  let payload: Uint8Array = Buffer.alloc(0);
  if (type === COMMAND.write || (extended && chance(rng, 0.05))) {
    length = Math.min(length, MIB);
    payload = Buffer.alloc(length, upTo(rng, 256));
    if (extended) flags |= COMMAND_FLAG.payloadLength;
  } else if (extended && type === COMMAND.blockStatus && chance(rng, 0.5)) {
    payload = statusPayload(length, pick(rng, [[1], [], [1, 1], [2]]));
    length = payload.length;
    flags |= COMMAND_FLAG.payloadLength;
  }
  const cookie = BigInt(upTo(rng, 2 ** 32));
  const header = encodeRequest({ type, flags, cookie, offset, length }, extended);
  return Buffer.concat([header, payload]);
}

function mutate(rng: Rng, bytes: Buffer): Buffer<ArrayBufferLike> {
  let out: Buffer<ArrayBufferLike> = Buffer.from(bytes);
  for (let i = 1 + upTo(rng, 6); i > 0 && out.length > 0; i--) {
    // Most interest lies in the handshake and the first headers.
    const at = upTo(rng, chance(rng, 0.6) ? Math.min(out.length, 300) : out.length);
    const how = upTo(rng, 4);
    if (how === 0) out[at] = upTo(rng, 256);
    else if (how === 1) out = out.subarray(0, at);
    else if (how === 2)
      out = Buffer.concat([out.subarray(0, at), out.subarray(at + upTo(rng, 40))]);
    else out = Buffer.concat([out.subarray(0, at), rng.bytes(upTo(rng, 64)), out.subarray(at)]);
  }
  return out;
}

interface World {
  readonly wire: Wire;
  readonly sent: Buffer[];
  readonly waiting: (() => void)[];
  unsentBytes: number;
  paused: boolean;
  over: boolean;
}

function createWorld(): World {
  const world: World = {
    sent: [],
    waiting: [],
    unsentBytes: 0,
    paused: false,
    over: false,
    wire: {
      send(chunks, sent) {
        const bytes = chunks.reduce((sum, one) => sum + one.length, 0);
        world.unsentBytes += bytes;
        assert(
          world.unsentBytes <= UNSENT_BYTES_MAX + REPLY_BYTES_MAX,
          `unsent bytes are bounded (${world.unsentBytes})`,
        );
        world.waiting.push(() => {
          world.unsentBytes -= bytes;
          world.sent.push(Buffer.concat(chunks));
          sent();
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

async function runStream(seed: number): Promise<number> {
  const rng = createSeededRng(seed);
  const stream = createStream(rng);
  const volume = createMemoryVolume('disk', VOLUME_BYTES);
  const pending: (() => void)[] = [];
  let underWay = 0;
  const slow = pick(rng, [0, 0.1, 0.9]);
  volume.gate = () => {
    if (!chance(rng, slow)) return undefined;
    underWay += 1;
    assert(underWay <= IN_FLIGHT_REQUESTS_MAX, 'requests under way are bounded');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    pending.push(() => {
      underWay -= 1;
      if (chance(rng, 0.1)) reject(new StorageError('unavailable', 'planted'));
      else resolve();
    });
    return promise;
  };
  const bugs: unknown[] = [];
  const note = (event: string, fields?: unknown): void => {
    if (event === 'nbd.connection.bug') bugs.push(fields);
    if (event === 'nbd.connection.failed' && stream.intact) bugs.push(fields);
    if (event === 'nbd.request.failed' && JSON.stringify(fields).includes('"bug"'))
      bugs.push(fields);
  };
  const log: Log = { debug: note, info: note, warn: note, error: note };
  const pool = new TrackingPool(8 * MIB);
  const world = createWorld();
  const clock = { ...systemClock, after: () => () => {} };
  const deps = {
    directory: memoryDirectory([volume]),
    pool,
    counters: createCounters(),
    clock,
    log,
  };
  const connection = new Connection(deps, { handshakeMs: 1 }, world.wire);
  let done = false;
  void connection.done.then(() => (done = true));

  let at = 0;
  let ended = false;
  let closed = false;
  for (let turn = 0; !done; turn++) {
    assert(turn < TURNS_MAX, 'a connection ends when its input has ended');
    // A socket that was paused may still deliver what it had read.
    const flows = !world.paused || chance(rng, 0.01);
    if (!world.over && flows && at < stream.bytes.length) {
      const next = Math.min(stream.bytes.length, at + 1 + upTo(rng, pick(rng, [10, 3000, 65536])));
      connection.receive(Buffer.from(stream.bytes.subarray(at, next)));
      at = next;
    } else if (!world.over && !world.paused && !ended) {
      ended = true;
      connection.receiveEnd();
    }
    const settle = world.waiting.splice(0, chance(rng, 0.7) ? world.waiting.length : 0);
    for (const one of settle) one();
    const resolve = pending.splice(0, upTo(rng, pending.length + 1));
    for (const one of resolve) one();
    if (world.over && world.waiting.length === 0 && !closed) {
      closed = true;
      connection.closed();
    }
    await systemClock.yieldTurn();
  }
  for (const one of world.waiting.splice(0)) one();
  assert(bugs.length === 0, `no bug was met: ${JSON.stringify(bugs)}`);
  assert(volume.openHandles === 0, 'the handle is closed');
  assert(pool.outBytes === 0, `every buffer is back (${pool.outBytes} bytes are not)`);
  if (stream.intact) await checkReplies(stream, Buffer.concat(world.sent));
  return stream.bytes.length;
}

/** Everything that the server sent must decode, from the greeting to the last reply. */
async function checkReplies(stream: Stream, sent: Buffer): Promise<void> {
  const take = takeFrom(sent);
  await take(18);
  let left = sent.length - 18;
  for (let i = 0; i < stream.options; i++) {
    for (let type = 2; type !== 1 && type < 2 ** 31;) {
      const reply = await decodeOptionReply(take);
      type = reply.type;
      left -= 20 + reply.data.length;
    }
  }
  // The data of simple replies have no frame of their own.
  if (stream.mode === 'simple') return;
  let answered = 0;
  while (left > 0) {
    const reply = await decodeReply(take);
    const extended = stream.mode === 'extended';
    assert(!extended || reply.kind === 'chunk', 'extended headers know no simple reply');
    if (reply.kind === 'simple' || reply.done) answered += 1;
    left -= reply.kind === 'simple' ? 16 : (extended ? 32 : 20) + reply.payload.length;
  }
  assert(left === 0, 'replies end with the stream');
  assert(answered === stream.requests, 'every request is answered once');
}

const { values } = parseArgs({
  options: { seconds: { type: 'string' }, seed: { type: 'string' } },
});
const seconds = Number(values.seconds ?? 10);
let seed = Number(values.seed ?? 1);
const until = systemClock.monotonicMs() + seconds * 1000;
let streams = 0;
let bytes = 0;
do {
  try {
    bytes += await runStream(seed);
  } catch (error) {
    process.stderr.write(`fuzz nbd: seed ${seed} failed\n`);
    throw error;
  }
  seed += 1;
  streams += 1;
  if (streams % SUMMARY_EVERY === 0) process.stdout.write(`fuzz nbd: ${streams} streams\n`);
} while (systemClock.monotonicMs() < until);
process.stdout.write(`fuzz nbd: ${streams} streams, ${(bytes / MIB).toFixed(1)} MiB, no failure\n`);
