// One client's connection, without its socket: bytes come in by `receive`, go out through a Wire.
//
//   open ──(DISC, ABORT, end of input)──▶ finishing ──(nothing under way)──▶ ending ──▶ closed
//     ├──────────────(stop: new requests are refused)──(nothing under way)─────▶ ending ──▶ closed
//     ├──────────────(protocol broken, socket lost)────────────────────────────────────▶ closed
//     └─(freeze: no request is begun)──(all is answered and sent)──▶ at rest ──(release)─▶ closed
//
// - Input that arrives while a limit is reached is held, and the wire is paused; it goes on when a
//   request is answered or bytes were sent. So a client that does not read its replies stops being
//   read.
// - Replies of one `receive` leave in one batch at its end; replies of promises in one batch per
//   tick.
// - The device is closed when the connection is over and its last call has settled; then `done`.

import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { ByteBudget } from './byte-budget.ts';
import { ConnectionMemory } from './connection-memory.ts';
import { HeldInput } from './held-input.ts';
import { LINGER_MS, UNSENT_BYTES_MAX } from './limits.ts';
import type { PhaseHost } from './phase.ts';
import { Phases, type PhasesDeps } from './phases.ts';
import { ReplyStream } from './reply-stream.ts';
import type { ConnectionState, Session } from './session.ts';
import type { Wire } from './wire.ts';

export interface ConnectionDeps extends PhasesDeps {
  readonly clock: Clock;
  /** What the connections share. */
  readonly budget: ByteBudget;
}

export interface ConnectionSettings {
  /** How long a client may take from connecting to the transmission phase. */
  readonly handshakeMs: number;
}

type State = 'open' | 'finishing' | 'ending' | 'closed';

const CLEAR_BYTES = 'bytes in clear behind STARTTLS';

export class Connection implements PhaseHost {
  readonly #deps: ConnectionDeps;
  readonly #wire: Wire;
  readonly #stream: ReplyStream;
  readonly #done = Promise.withResolvers<void>();
  readonly #phases: Phases;
  readonly #held: HeldInput;
  #state: State = 'open';
  #consuming = false;
  #flushScheduled = false;
  /** The client is done, but input of before is still held. */
  #endOfInput = false;
  #lingering = false;
  readonly #rest = Promise.withResolvers<void>();
  #cancelTimer: () => void = () => {};

  /** With `resumed` it goes on where another process released it. */
  constructor(
    deps: ConnectionDeps,
    settings: ConnectionSettings,
    wire: Wire,
    resumed?: { readonly session: Session; readonly pending: Buffer },
  ) {
    this.#deps = deps;
    this.#wire = wire;
    const progress = (): void => this.#progress();
    const memory = new ConnectionMemory(deps.budget, this);
    this.#stream = new ReplyStream(wire, deps.pool, memory, progress);
    this.#held = new HeldInput(wire, deps.budget, progress);
    this.#phases = new Phases(deps, {
      stream: this.#stream,
      memory,
      host: this,
      onSettled: () => this.#settled(),
      session: resumed?.session,
    });
    if (resumed !== undefined) {
      this.receive(resumed.pending);
      return;
    }
    this.#cancelTimer = deps.clock.after(settings.handshakeMs, () =>
      this.fail('the handshake took too long'),
    );
    this.#stream.flush();
  }

  /** Resolves when the socket is gone and the device is closed. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** Over TLS, or about to be: its state lies in OpenSSL and cannot be given to another process. */
  get secure(): boolean {
    return this.#phases.secure || this.#phases.securing;
  }

  /** False while the handshake is not over. */
  get negotiated(): boolean {
    return this.#phases.transmission !== undefined;
  }

  /** No request is under way: if it is not over and not at rest, the client is to blame. */
  get idle(): boolean {
    return this.#phases.current.idle;
  }

  get blocked(): boolean {
    return (
      this.#phases.current.full ||
      this.#stream.unsentBytes >= UNSENT_BYTES_MAX ||
      this.#state !== 'open' ||
      this.#phases.securing
    );
  }

  /** The next bytes from the client, owned by the connection from here on. */
  receive(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    if (this.#phases.securing) return this.fail(CLEAR_BYTES);
    if (!this.#held.empty) {
      this.#held.push(chunk);
      return;
    }
    this.#consume(chunk);
    this.#stream.flush();
    this.#whenIdle();
  }

  /** The client will send nothing more. What is held was sent before: it is still answered. */
  receiveEnd(): void {
    if (this.#held.empty) this.hangUp();
    else this.#endOfInput = true;
  }

  /** Refuses what is new, answers what is under way, closes. */
  stop(): void {
    this.#phases.stop();
    this.#progress();
  }

  /**
   * Begins no further request. Resolves true when every one that was begun is answered and the
   * kernel has the answers, false when the connection is over. Only for one that is negotiated.
   */
  freeze(): Promise<boolean> {
    const { transmission } = this.#phases;
    assert(transmission !== undefined, 'what is frozen is past the handshake');
    transmission.freeze();
    this.#whenIdle();
    const rest = this.#rest.promise.then(() => this.#atRest);
    return Promise.race([rest, this.done.then(() => false)]);
  }

  /**
   * Gives the connection up: what another process needs to go on. Nothing may come from the wire
   * any more. Undefined when it came to its end since it was at rest.
   */
  release(): ConnectionState | undefined {
    if (!this.#atRest) return undefined;
    const state = this.#phases.stateWith(this.#held.chunks);
    this.closed();
    return state;
  }

  /** Answers what was begun, drops what was not, closes. */
  hangUp(): void {
    this.finish();
    this.#whenIdle();
  }

  destroy(): void {
    this.#wire.destroy();
  }

  /** The socket is gone. */
  closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#cancelTimer();
    this.#held.close();
    this.#closeWhenIdle();
  }

  enterTransmission(session: Session): void {
    this.#cancelTimer();
    this.#phases.enterTransmission(session);
  }

  startTls(noZeroes: boolean): void {
    // Whoever is on the wire may have put them there, to be taken for the client's own.
    if (!this.#held.empty) return this.fail(CLEAR_BYTES);
    this.#held.forgetPause();
    this.#phases.startTls(noZeroes, () => this.#state === 'open');
  }

  finish(): void {
    if (this.#state !== 'open') return;
    this.#state = 'finishing';
    this.#held.drop();
  }

  fail(why: string): void {
    if (this.#state === 'closed') return;
    this.#deps.log.warn('nbd.connection.failed', { why });
    this.#state = 'ending';
    this.#wire.destroy();
  }

  /** Runs the phases over a chunk; what they leave because of a limit is held. */
  #consume(chunk: Buffer): void {
    assert(!this.#consuming, 'input is consumed by one caller at a time');
    this.#consuming = true;
    let at = 0;
    try {
      while (at < chunk.length && !this.blocked) at = this.#phases.current.consume(chunk, at);
    } catch (error) {
      // A bug on this connection must not take the others down.
      this.#deps.log.error('nbd.connection.bug', { message: messageOf(error) });
      this.fail('internal error');
    } finally {
      this.#consuming = false;
    }
    if (at < chunk.length && this.#phases.securing) return this.fail(CLEAR_BYTES);
    if (at < chunk.length && this.#state === 'open') {
      this.#held.putBack(chunk.subarray(at));
    }
  }

  /** A request that waited for the device has its reply in the stream. */
  #settled(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    // A tick runs after the promises that are ready now, so that their replies leave together.
    process.nextTick(() => {
      this.#flushScheduled = false;
      this.#stream.flush();
      this.#progress();
    });
  }

  /** Something was answered or sent: take up what is held, or go on with the end. */
  #progress(): void {
    while (!this.#held.empty && this.#state === 'open' && !this.blocked) {
      this.#consume(this.#held.shift());
    }
    if (this.#held.empty && this.#state === 'open') {
      if (this.#endOfInput) this.#state = 'finishing';
      else if (this.#held.paused && !this.blocked) this.#held.resume();
    }
    this.#held.awaitBudget();
    this.#stream.flush();
    this.#whenIdle();
    this.#lingerWhenSent();
    this.#closeWhenIdle();
  }

  /** Frozen, and nothing of what was begun is left to do. */
  get #atRest(): boolean {
    return (
      this.#phases.transmission?.atRest === true &&
      this.#state === 'open' &&
      this.#phases.current.idle &&
      !this.#flushScheduled &&
      this.#stream.unsentBytes === 0
    );
  }

  /** Nothing may be under way any more: it is at rest, or comes to its end. */
  #whenIdle(): void {
    if (this.#atRest) this.#rest.resolve();
    const { stopping, current } = this.#phases;
    const leaving = this.#state === 'finishing' || (this.#state === 'open' && stopping);
    if (!leaving || !current.idle || this.#flushScheduled || !this.#held.empty) return;
    this.#state = 'ending';
    this.#stream.flush();
    this.#wire.end();
    this.#lingerWhenSent();
  }

  /**
   * A client that still takes its replies has all the time it needs; afterwards it must hang up.
   */
  #lingerWhenSent(): void {
    if (this.#state !== 'ending' || this.#lingering || this.#stream.unsentBytes > 0) return;
    this.#lingering = true;
    this.#cancelTimer();
    this.#cancelTimer = this.#deps.clock.after(LINGER_MS, () => this.#wire.destroy());
  }

  #closeWhenIdle(): void {
    if (this.#state !== 'closed' || !this.#phases.current.idle || this.#flushScheduled) return;
    this.#phases.current.close();
    this.#stream.flush();
    this.#stream.close();
    this.#phases.closeDevice();
    this.#done.resolve();
  }
}
