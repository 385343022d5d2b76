// Cuts what a client says in the handshake phase into its flags and its options.
//
//   flags → option header → data ┐      (data that are too long are dropped, then refused)
//                 ↑──────────────┘

import { OPTION } from '../../proto/nbd/constants.ts';
import {
  CLIENT_FLAGS_BYTES,
  decodeClientFlags,
  decodeOptionHeader,
  OPTION_HEADER_BYTES,
} from '../../proto/nbd/handshake.ts';
import { OPTION_BYTES_MAX, OPTION_DRAIN_BYTES_MAX } from './limits.ts';

const NOTHING = new Uint8Array(0);

/** Who takes what was read. */
export interface OptionTaker {
  /** True: nothing further may be read now, or ever. */
  readonly sated: boolean;
  takeFlags(noZeroes: boolean): void;
  /** `data` stay as they are: they may be kept. */
  takeOption(option: number, data: Uint8Array): void;
  /** The option's data were past the limit; they are dropped. */
  refuseTooBig(option: number): void;
  /** The stream cannot be read on. */
  fail(why: string): void;
}

type Expecting = 'flags' | 'option' | 'data' | 'drain';

export class OptionReader {
  readonly #taker: OptionTaker;
  #expecting: Expecting = 'flags';
  #buffer = Buffer.alloc(CLIENT_FLAGS_BYTES);
  #filled = 0;
  #drainBytes = 0;
  #option = 0;

  constructor(taker: OptionTaker) {
    this.#taker = taker;
  }

  /** What comes next is an option. */
  skipFlags(): void {
    this.#expect('option', OPTION_HEADER_BYTES);
  }

  /** Reads `chunk` from `start`, and returns where it stopped. */
  read(chunk: Buffer, start: number): number {
    let at = start;
    while (at < chunk.length && !this.#taker.sated) {
      if (this.#expecting === 'drain') {
        const count = Math.min(this.#drainBytes, chunk.length - at);
        this.#drainBytes -= count;
        at += count;
        if (this.#drainBytes === 0) this.#endDrain();
        continue;
      }
      const end = Math.min(at + this.#buffer.length - this.#filled, chunk.length);
      this.#filled += chunk.copy(this.#buffer, this.#filled, at, end);
      at = end;
      if (this.#filled === this.#buffer.length) this.#take(this.#buffer);
    }
    return at;
  }

  #expect(what: 'option' | 'data', bytes: number): void {
    this.#expecting = what;
    this.#buffer = Buffer.alloc(bytes);
    this.#filled = 0;
  }

  /** All expected bytes are here. */
  #take(bytes: Buffer): void {
    if (this.#expecting === 'flags') this.#takeFlags(bytes);
    else if (this.#expecting === 'option') this.#takeHeader(bytes);
    else this.#takeOption(bytes);
  }

  #takeFlags(bytes: Buffer): void {
    const flags = decodeClientFlags(bytes);
    if (flags === undefined) return this.#taker.fail('unknown client flags');
    this.#taker.takeFlags(flags.noZeroes);
    this.#expect('option', OPTION_HEADER_BYTES);
  }

  #takeHeader(bytes: Buffer): void {
    const header = decodeOptionHeader(bytes);
    if (header === undefined) return this.#taker.fail('an option without its magic');
    this.#option = header.option;
    if (header.dataBytes > OPTION_BYTES_MAX) {
      // EXPORT_NAME has no error reply, and a name is never that long.
      if (header.option === OPTION.exportName || header.dataBytes > OPTION_DRAIN_BYTES_MAX) {
        return this.#taker.fail('option data past every limit');
      }
      this.#expecting = 'drain';
      this.#drainBytes = header.dataBytes;
      return;
    }
    if (header.dataBytes === 0) return this.#takeOption(NOTHING);
    this.#expect('data', header.dataBytes);
  }

  #endDrain(): void {
    this.#taker.refuseTooBig(this.#option);
    this.#expect('option', OPTION_HEADER_BYTES);
  }

  #takeOption(data: Uint8Array): void {
    this.#expect('option', OPTION_HEADER_BYTES);
    this.#taker.takeOption(this.#option, data);
  }
}
