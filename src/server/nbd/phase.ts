// A connection is in one of two phases, the handshake or the transmission; each consumes the byte
// stream.

import type { Session } from './session.ts';

export interface Phase {
  /**
   * Consumes `chunk` from `start`, and returns where it stopped: the chunk's end, or earlier when
   * the connection is blocked or the phase has changed. The chunk is not written to again: views of
   * it may be kept.
   */
  consume(chunk: Buffer, start: number): number;
  /** No request is under way. */
  readonly idle: boolean;
  /** No further request may start now. */
  readonly full: boolean;
  /** The server is shutting down: refuse what is new. */
  stop(): void;
  /** The connection is over and nothing is under way. */
  close(): void;
}

/** What a phase may do to its connection. */
export interface PhaseHost {
  /** True while a limit is reached: stop consuming. */
  readonly blocked: boolean;
  /** The handshake is complete. */
  enterTransmission(session: Session): void;
  /** STARTTLS was answered: what follows is a new handshake, over TLS. */
  startTls(noZeroes: boolean): void;
  /** The client takes its leave: answer what is under way, then close. */
  finish(): void;
  /** The client broke the protocol, or asked for what has no error reply: disconnect. */
  fail(why: string): void;
}
