// Finds sequential readers among the reads of one device, and says what to fetch before they ask.
//
//     read so far              fetched ahead             room
//   ├──────────────┬───────────┬───────────┬───────────┬ ─ ─ ─ ─ ┐
//   origin      frontier                            aheadEnd   frontier + distance
//
// 1. A read belongs to the stream whose frontier is closest, if that is near: requests of a deep
//    queue overtake each other. A read that belongs to none becomes a candidate.
// 2. A candidate becomes a stream when enough reads moved its frontier: POINTS_EXACT for one that
//    began exactly there, one point for one that was merely near. Two exact ones are enough.
// 3. A stream is fetched ahead by a distance of twice what it has read, up to the maximum. So who
//    stops early has wasted little, and who goes on soon has as much under way as is useful.
// 4. Whenever a piece of a quarter of the distance has room, it is asked for. Thus there are always
//    three or four fetches under way for a steady reader: were the whole distance asked for at
//    once, the store would be idle while it is read, and the reader while it is fetched.
// 5. The candidate, or the stream, that was idle longest makes room for a new one. A reader that
//    jumps away thus asks for nothing more, and random reads cannot push out a stream.
//
// Invariants: what is asked for of one stream never overlaps; it does not pass the device's end,
// nor lie further ahead of the stream's frontier than the maximum.
// Deterministic, no clock: the caller starts the fetch and owns its failure.

import { assert } from '../base/assert.ts';

export interface ReadAheadSettings {
  readonly deviceBytes: number;
  /** How far ahead of a reader. Below PIECE_BYTES_MIN nothing is ever fetched. */
  readonly distanceBytesMax: number;
}

/** Bytes [start, end) of the device. */
export interface ReadAheadRange {
  readonly start: number;
  readonly end: number;
}

export interface ReadAhead {
  /** Takes note of a read; returns what to fetch now, if anything. */
  observe(offset: number, length: number): ReadAheadRange | undefined;
}

/** One chunk: a smaller fetch would look a block map up for a part of it. */
export const PIECE_BYTES_MIN = 128 * 1024;
/** What one GET brings at most. */
const PIECE_BYTES_MAX = 1024 * 1024;
/** Pieces that a steady reader has under way. */
const PIECES = 4;
/** How far ahead, by what was read. */
const DISTANCE_PER_READ = 2;
/** Streams followed at once, for each device handle. */
export const STREAMS_MAX = 8;

const CANDIDATES_MAX = 16;
const POINTS_EXACT = 2;
const POINTS_TO_START = 4;
/** How many of its own lengths a read may be away from the frontier: a common queue depth. */
const NEAR_LENGTHS = 8;
/** A proven stream of small reads may jump within one chunk, any stream by this much. */
const NEAR_BYTES_MAX = 1024 * 1024;

interface Stream {
  /** Where its first read began. */
  readonly origin: number;
  /** Where the furthest read so far ended. */
  frontier: number;
  points: number;
  aheadEnd: number;
  lastUsed: number;
}

export function createReadAhead(settings: ReadAheadSettings): ReadAhead {
  const { deviceBytes, distanceBytesMax } = settings;
  assert(deviceBytes >= 0, 'a device has a size');
  const streams: Stream[] = [];
  const candidates: Stream[] = [];
  let reads = 0;

  function nextPieces(stream: Stream, length: number): ReadAheadRange | undefined {
    const { origin, frontier } = stream;
    const start = Math.max(stream.aheadEnd, frontier);
    // A reader of large blocks needs at least the next one.
    const wished = Math.max((frontier - origin) * DISTANCE_PER_READ, length, PIECE_BYTES_MIN);
    const distance = Math.min(wished, distanceBytesMax);
    const end = endOfPieces(frontier + distance, distance, deviceBytes);
    if (end <= start) return undefined;
    stream.aheadEnd = end;
    return { start, end };
  }

  return {
    observe(offset, length) {
      if (length <= 0 || distanceBytesMax < PIECE_BYTES_MIN) return undefined;
      reads += 1;
      const near = Math.min(NEAR_BYTES_MAX, length * NEAR_LENGTHS);
      const stream = closest(streams, offset, Math.max(near, PIECE_BYTES_MIN));
      if (stream !== undefined) {
        advance(stream, offset, length, reads);
        return nextPieces(stream, length);
      }
      const candidate = closest(candidates, offset, near);
      if (candidate === undefined) {
        makeRoom(candidates, CANDIDATES_MAX);
        candidates.push(newCandidate(offset, length, reads));
        return undefined;
      }
      advance(candidate, offset, length, reads);
      if (candidate.points < POINTS_TO_START) return undefined;
      candidates.splice(candidates.indexOf(candidate), 1);
      makeRoom(streams, STREAMS_MAX);
      streams.push(candidate);
      return nextPieces(candidate, length);
    },
  };
}

function newCandidate(offset: number, length: number, now: number): Stream {
  return { origin: offset, frontier: offset + length, points: 0, aheadEnd: 0, lastUsed: now };
}

/** The last whole piece before `limit`, or the device's end: the pieces of a distance are alike. */
function endOfPieces(limit: number, distance: number, deviceBytes: number): number {
  if (limit >= deviceBytes) return deviceBytes;
  let piece = PIECE_BYTES_MIN;
  while (piece < PIECE_BYTES_MAX && piece * 2 * PIECES <= distance) piece *= 2;
  return limit - (limit % piece);
}

function closest(streams: readonly Stream[], offset: number, near: number): Stream | undefined {
  let best: Stream | undefined;
  let bestDistance = Infinity;
  for (const stream of streams) {
    const distance = Math.abs(offset - stream.frontier);
    if (distance > near || distance >= bestDistance) continue;
    best = stream;
    bestDistance = distance;
  }
  return best;
}

/** A read behind the frontier keeps the stream alive, but proves nothing: it may be a repeat. */
function advance(stream: Stream, offset: number, length: number, now: number): void {
  stream.lastUsed = now;
  const end = offset + length;
  if (end <= stream.frontier) return;
  stream.points += offset === stream.frontier ? POINTS_EXACT : 1;
  stream.frontier = end;
}

function makeRoom(streams: Stream[], countMax: number): void {
  if (streams.length < countMax) return;
  let idlest = 0;
  for (let at = 1; at < streams.length; at++) {
    if (streams[at]!.lastUsed < streams[idlest]!.lastUsed) idlest = at;
  }
  streams.splice(idlest, 1);
}
