// Finds sequential readers among the reads of one device, and says what to fetch before they ask.
//
//        read so far        fetched ahead
//   ─────────────────┬──────────┬──────────┬─────────────────────────
//                 frontier   trigger    aheadEnd
//
// 1. A read belongs to the stream whose frontier is closest, if that is near: requests of a deep
//    queue overtake each other. A read that belongs to none becomes a candidate.
// 2. A candidate becomes a stream when enough reads moved its frontier: POINTS_EXACT for one that
//    began exactly there, one point for one that was merely near. Two exact ones are enough.
// 3. A stream whose frontier passes the trigger, the middle of the last window, asks for the next
//    window, twice as large, up to the maximum.
// 4. The candidate, or the stream, that was idle longest makes room for a new one. A reader that
//    jumps away thus asks for nothing more, and random reads cannot push out a stream.
//
// Invariants: windows of one stream never overlap; none passes the device's end; a stream is never
// fetched further ahead of its frontier than 1.5 maximal windows and one alignment.
// Deterministic, no clock: the caller starts the fetch and owns its failure.

import { assert } from '../base/assert.ts';

export interface ReadAheadSettings {
  readonly deviceBytes: number;
  /** The largest window. Below WINDOW_BYTES_MIN nothing is ever fetched ahead. */
  readonly windowBytesMax: number;
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

/** The first window, and what window ends are rounded up to: one chunk. */
export const WINDOW_BYTES_MIN = 128 * 1024;
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
  /** Where the furthest read so far ended. */
  frontier: number;
  points: number;
  windowBytes: number;
  trigger: number;
  aheadEnd: number;
  lastUsed: number;
}

export function createReadAhead(settings: ReadAheadSettings): ReadAhead {
  const { deviceBytes, windowBytesMax } = settings;
  assert(deviceBytes >= 0, 'a device has a size');
  const streams: Stream[] = [];
  const candidates: Stream[] = [];
  let reads = 0;

  function nextWindow(stream: Stream, length: number): ReadAheadRange | undefined {
    if (stream.frontier < stream.trigger) return undefined;
    const start = Math.max(stream.aheadEnd, stream.frontier);
    if (start >= deviceBytes) return undefined;
    // A reader of large pieces needs a window that holds at least the next one.
    const grown = Math.max(stream.windowBytes * 2, length, WINDOW_BYTES_MIN);
    stream.windowBytes = Math.min(grown, windowBytesMax);
    const end = Math.min(roundUp(start + stream.windowBytes), deviceBytes);
    stream.trigger = end - Math.floor(stream.windowBytes / 2);
    stream.aheadEnd = end;
    return { start, end };
  }

  return {
    observe(offset, length) {
      if (length <= 0 || windowBytesMax < WINDOW_BYTES_MIN) return undefined;
      reads += 1;
      const near = Math.min(NEAR_BYTES_MAX, length * NEAR_LENGTHS);
      const stream = closest(streams, offset, Math.max(near, WINDOW_BYTES_MIN));
      if (stream !== undefined) {
        advance(stream, offset, length, reads);
        return nextWindow(stream, length);
      }
      const candidate = closest(candidates, offset, near);
      if (candidate === undefined) {
        makeRoom(candidates, CANDIDATES_MAX);
        candidates.push(newCandidate(offset + length, reads));
        return undefined;
      }
      advance(candidate, offset, length, reads);
      if (candidate.points < POINTS_TO_START) return undefined;
      candidates.splice(candidates.indexOf(candidate), 1);
      makeRoom(streams, STREAMS_MAX);
      streams.push(candidate);
      return nextWindow(candidate, length);
    },
  };
}

function newCandidate(frontier: number, now: number): Stream {
  return { frontier, points: 0, windowBytes: 0, trigger: 0, aheadEnd: 0, lastUsed: now };
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

function roundUp(bytes: number): number {
  return Math.ceil(bytes / WINDOW_BYTES_MIN) * WINDOW_BYTES_MIN;
}
