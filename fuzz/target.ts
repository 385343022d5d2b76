// What a fuzz target is: one decoder that sees bytes from outside, and what may come of them.
//
// A target's `run` gives the input to the decoder. It returns when the bytes were taken, throws a
// StorageError of one of `kinds` when they were refused, and anything else that it throws is a
// finding: a TypeError of the decoder as well as a Finding of the target's own checks.

import { isDeepStrictEqual } from 'node:util';
import type { Maybe } from '../src/base/maybe.ts';
import { isStorageError, StorageError, type StorageErrorKind } from '../src/base/errors.ts';

export interface Target {
  readonly name: string;
  /** Well-formed inputs, made by our own encoders. The same ones every time. */
  seeds(): Maybe<readonly Uint8Array[]>;
  /**
   * Deterministic in `input`, which it owns. Gives the count of messages that it held, where that
   * is not one.
   */
  run(input: Uint8Array): Maybe<number | void>;
  /** The kinds of refusal that are right. */
  readonly kinds: readonly StorageErrorKind[];
  /** Longer inputs are not made. */
  readonly bytesMax?: number;
  /** Words of the input's language, for text. */
  readonly words?: readonly string[];
  /** Puts right what a change broke, where a checksum would hide what lies behind it. In place. */
  readonly mend?: (input: Uint8Array) => void;
  /** Memory that an input may take, beside a multiple of its length. */
  readonly memoryBytes?: number;
  /** Ends what `seeds` or `run` started. */
  readonly close?: () => Promise<void>;
}

export const BYTES_MAX = 4096;

/** A promise that a decoder broke. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

/** What went wrong with one input. */
export interface Failure {
  /** Equal for failures of one cause, as far as one can tell: for counting. */
  readonly cause: string;
  readonly detail: string;
}

const RUNTIME_MESSAGE_CHARACTERS = 10;

/** Whether `error` is a refusal as it should be, or else what it is. */
export function failureOf(target: Target, error: unknown): Failure | undefined {
  if (isStorageError(error) && target.kinds.includes(error.kind)) return undefined;
  const shown = error instanceof Error ? error : new Error(`thrown: ${String(error)}`);
  const kind = error instanceof StorageError ? ` ${error.kind}` : '';
  // The runtime's own messages show parts of the input.
  const ours = shown instanceof Finding || shown instanceof StorageError;
  const message = ours ? shown.message : shown.message.slice(0, RUNTIME_MESSAGE_CHARACTERS);
  const cause = `${shown.name}${kind} ${message.replaceAll(/\d+/g, '#').slice(0, 80)}`;
  const inner = shown.cause instanceof Error ? `\ncaused by ${shown.cause.stack}` : '';
  return { cause, detail: `${shown.name}${kind}: ${shown.stack ?? shown.message}${inner}` };
}

/**
 * Decodes, encodes what came, decodes that: the two values must be equal. Returns the value. A
 * refusal of the first decoding is thrown as it is.
 */
export function roundTrip<T>(
  input: Uint8Array,
  decode: (bytes: Uint8Array) => T,
  encode: (value: T) => Uint8Array,
): T {
  const value = decode(input);
  let again: T;
  try {
    again = decode(encode(value));
  } catch (cause) {
    throw new Finding('what was decoded cannot be encoded and read again', { cause });
  }
  expectEqual(again, value, 'what was decoded, encoded and read again');
  return value;
}

export function expectEqual(found: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(found, expected)) return;
  throw new Finding(`${what} differs: ${show(found)} instead of ${show(expected)}`);
}

export function expect(condition: boolean, what: string): void {
  if (!condition) throw new Finding(`not so: ${what}`);
}

const SHOWN_CHARACTERS = 300;

function show(value: unknown): string {
  const text = JSON.stringify(value, (_key, part: unknown) =>
    part instanceof Map ? [...part] : typeof part === 'bigint' ? String(part) : part,
  );
  return String(text).slice(0, SHOWN_CHARACTERS);
}

/** Sealed bytes: only those that were sealed may be opened. */
export function expectSealed(
  input: Uint8Array,
  originals: readonly Uint8Array[],
  open: (bytes: Uint8Array) => void,
): void {
  open(input);
  const own = originals.some((one) => Buffer.compare(one, input) === 0);
  expect(own, 'bytes that nobody sealed are refused');
}
