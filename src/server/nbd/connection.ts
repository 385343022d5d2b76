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
// - The device is closed when the connection is over and its last call has settled. `done` then
//   resolves.

import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { BlockDevice, BlockDeviceDirectory } from '../../volume/block-device.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { NbdCounters } from './counters.ts';
import { Executor } from './executor.ts';
import { Handshake } from './handshake.ts';
import { LINGER_MS, UNSENT_BYTES_MAX } from './limits.ts';
import type { Phase, PhaseHost } from './phase.ts';
import { ReplyStream } from './reply-stream.ts';
import type { ConnectionState, Session } from './session.ts';
import type { ConnectionSecurity } from './tls-socket.ts';
import { Transmission } from './transmission.ts';
import type { Wire } from './wire.ts';

export interface ConnectionDeps {
  readonly directory: BlockDeviceDirectory;
  readonly pool: BufferPool;
  readonly counters: NbdCounters;
  readonly clock: Clock;
  readonly log: Log;
  /** Payload in flight of all connections. */
  readonly budget?: ByteBudget | undefined;
  /** Absent: no TLS. Without TLS the client sees `directory`. */
  readonly security?: ConnectionSecurity | undefined;
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
  #phase: Phase;
  #device: BlockDevice | undefined;
  #state: State = 'open';
  #held: Buffer[] = [];
  #paused = false;
  #consuming = false;
  #flushScheduled = false;
  /** The client is done, but input of before is still held. */
  #endOfInput = false;
  #stopping = false;
  #lingering = false;
  /** STARTTLS was answered, and the TLS handshake is not over. */
  #securing = false;
  #secure = false;
  #transmission: { readonly session: Session; readonly phase: Transmission } | undefined;
  readonly #rest = Promise.withResolvers<void>();
  #cancelTimer: () => void = () => {};
  readonly #wake = (): void => this.#progress();

  /** With `resumed` it goes on where another process released it. */
  constructor(
    deps: ConnectionDeps,
    settings: ConnectionSettings,
    wire: Wire,
    resumed?: { readonly session: Session; readonly pending: Buffer },
  ) {
    this.#deps = deps;
    this.#wire = wire;
    this.#stream = new ReplyStream(wire, deps.pool, () => this.#progress());
    const handshake = new Handshake({
      directory: deps.directory,
      stream: this.#stream,
      host: this,
      tls: deps.security?.mode ?? 'off',
    });
    this.#phase = handshake;
    if (resumed !== undefined) {
      this.enterTransmission(resumed.session);
      this.receive(resumed.pending);
      return;
    }
    this.#cancelTimer = deps.clock.after(settings.handshakeMs, () =>
      this.fail('the handshake took too long'),
    );
    handshake.greet();
    this.#stream.flush();
  }

  /** Resolves when the socket is gone and the device is closed. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** Over TLS, or about to be: its state lies in OpenSSL and cannot be given to another process. */
  get secure(): boolean {
    return this.#secure || this.#securing;
  }

  /** False while the handshake is not over. */
  get negotiated(): boolean {
    return this.#transmission !== undefined;
  }

  /** No request is under way: if it is not over and not at rest, the client is to blame. */
  get idle(): boolean {
    return this.#phase.idle;
  }

  get blocked(): boolean {
    return (
      this.#phase.full ||
      this.#stream.unsentBytes >= UNSENT_BYTES_MAX ||
      this.#state !== 'open' ||
      this.#securing
    );
  }

  /** The next bytes from the client, owned by the connection from here on. */
  receive(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    if (this.#securing) return this.fail(CLEAR_BYTES);
    if (this.#held.length > 0) {
      this.#held.push(chunk);
      return;
    }
    this.#consume(chunk);
    this.#stream.flush();
    this.#endWhenIdle();
    this.#restWhenIdle();
  }

  /** The client will send nothing more. What is held was sent before: it is still answered. */
  receiveEnd(): void {
    if (this.#held.length > 0) this.#endOfInput = true;
    else this.finish();
    this.#endWhenIdle();
  }

  /** Refuses what is new, answers what is under way, closes. */
  stop(): void {
    this.#stopping = true;
    this.#phase.stop();
    this.#endWhenIdle();
  }

  /**
   * Begins no further request. Resolves true when every one that was begun is answered and the
   * kernel has the answers, false when the connection is over. Only for one that is negotiated.
   */
  freeze(): Promise<boolean> {
    assert(this.#transmission !== undefined, 'what is frozen is past the handshake');
    this.#transmission.phase.freeze();
    this.#restWhenIdle();
    const rest = this.#rest.promise.then(() => this.#atRest);
    return Promise.race([rest, this.done.then(() => false)]);
  }

  /**
   * Gives the connection up: what another process needs to go on. Nothing may come from the wire
   * any more. Undefined when it came to its end since it was at rest.
   */
  release(): ConnectionState | undefined {
    if (!this.#atRest || this.#transmission === undefined) return undefined;
    const { session, phase } = this.#transmission;
    const { device, mode, allocationContext, aligned } = session;
    const { name: exportName, sizeBytes } = device;
    const pending = Buffer.concat([phase.partialHeader(), ...this.#held]);
    this.closed();
    return { exportName, sizeBytes, mode, allocationContext, aligned, pending };
  }

  /** Answers what was begun, drops what was not, closes. */
  hangUp(): void {
    this.finish();
    this.#endWhenIdle();
  }

  destroy(): void {
    this.#wire.destroy();
  }

  /** The socket is gone. */
  closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#cancelTimer();
    this.#held = [];
    this.#deps.budget?.forget(this.#wake);
    this.#closeWhenIdle();
  }

  enterTransmission(session: Session): void {
    const { pool, counters, log } = this.#deps;
    this.#cancelTimer();
    this.#phase.close();
    this.#device = session.device;
    const onSettled = (): void => this.#settled();
    const executor = new Executor(
      { stream: this.#stream, pool, counters, log, budget: this.#deps.budget, onSettled },
      session,
    );
    const phase = new Transmission({ session, executor, pool, host: this });
    this.#phase = phase;
    this.#transmission = { session, phase };
  }

  startTls(noZeroes: boolean): void {
    const { security } = this.#deps;
    assert(security !== undefined, 'TLS is offered only where it is configured');
    // Whoever is on the wire may have put them there, to be taken for the client's own.
    if (this.#held.length > 0) return this.fail(CLEAR_BYTES);
    this.#securing = true;
    this.#paused = false;
    this.#phase.close();
    this.#stream.flush();
    security.start((directory) => {
      this.#securing = false;
      if (this.#state !== 'open') return;
      this.#secure = true;
      const handshake = new Handshake({
        directory,
        stream: this.#stream,
        host: this,
        tls: 'active',
      });
      handshake.resume(noZeroes);
      if (this.#stopping) handshake.stop();
      this.#phase = handshake;
    });
  }

  finish(): void {
    if (this.#state !== 'open') return;
    this.#state = 'finishing';
    this.#held = [];
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
      while (at < chunk.length && !this.blocked) at = this.#phase.consume(chunk, at);
    } catch (error) {
      // A bug on this connection must not take the others down.
      this.#deps.log.error('nbd.connection.bug', { message: messageOf(error) });
      this.fail('internal error');
    } finally {
      this.#consuming = false;
    }
    if (at < chunk.length && this.#securing) return this.fail(CLEAR_BYTES);
    if (at < chunk.length && this.#state === 'open') {
      this.#held.unshift(chunk.subarray(at));
      if (!this.#paused) this.#wire.pause();
      this.#paused = true;
      this.#awaitBudget();
    }
  }

  /** What holds this one may be the others' payloads: whoever frees them wakes it. */
  #awaitBudget(): void {
    const { budget } = this.#deps;
    if (this.#paused && budget?.full === true) budget.whenFree(this.#wake);
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
    while (this.#held.length > 0 && this.#state === 'open' && !this.blocked) {
      this.#consume(this.#held.shift()!);
    }
    if (this.#held.length === 0 && this.#state === 'open') {
      if (this.#endOfInput) this.#state = 'finishing';
      else if (this.#paused && !this.blocked) {
        this.#paused = false;
        this.#wire.resume();
      }
    }
    this.#awaitBudget();
    this.#stream.flush();
    this.#endWhenIdle();
    this.#restWhenIdle();
    this.#lingerWhenSent();
    this.#closeWhenIdle();
  }

  /** Frozen, and nothing of what was begun is left to do. */
  get #atRest(): boolean {
    return (
      this.#transmission?.phase.atRest === true &&
      this.#state === 'open' &&
      this.#phase.idle &&
      !this.#flushScheduled &&
      this.#stream.unsentBytes === 0
    );
  }

  #restWhenIdle(): void {
    if (this.#atRest) this.#rest.resolve();
  }

  #endWhenIdle(): void {
    const leaving = this.#state === 'finishing' || (this.#state === 'open' && this.#stopping);
    if (!leaving || !this.#phase.idle || this.#flushScheduled || this.#held.length > 0) return;
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
    if (this.#state !== 'closed' || !this.#phase.idle || this.#flushScheduled) return;
    this.#phase.close();
    this.#stream.flush();
    this.#stream.close();
    this.#device?.close();
    this.#device = undefined;
    this.#done.resolve();
  }
}
