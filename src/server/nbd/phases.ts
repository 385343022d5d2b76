// The phases of one connection, one behind the other, and what they are made of.
//
//   handshake ──(GO, EXPORT_NAME)──▶ transmission
//       └─(STARTTLS)─▶ securing ─▶ handshake over TLS ──(GO, EXPORT_NAME)──▶ transmission
//
// The device of the transmission is closed here, once.

import { assert } from '../../base/assert.ts';
import type { Log } from '../../base/log.ts';
import type { BlockDevice, BlockDeviceDirectory } from '../../volume/block-device.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ConnectionMemory } from './connection-memory.ts';
import type { NbdCounters } from './counters.ts';
import { Executor } from './executor.ts';
import { Handshake, type HandshakeTls } from './handshake.ts';
import type { Phase, PhaseHost } from './phase.ts';
import type { ReplyStream } from './reply-stream.ts';
import type { ConnectionState, Session } from './session.ts';
import type { ConnectionSecurity } from './tls-socket.ts';
import { Transmission } from './transmission.ts';

export interface PhasesDeps {
  readonly directory: BlockDeviceDirectory;
  readonly pool: BufferPool;
  readonly counters: NbdCounters;
  readonly log: Log;
  /** Absent: no TLS. Without TLS the client sees `directory`. */
  readonly security?: ConnectionSecurity | undefined;
}

export interface PhasesParts {
  readonly stream: ReplyStream;
  readonly memory: ConnectionMemory;
  readonly host: PhaseHost;
  /** Hears of each request that waited for the device. */
  readonly onSettled: () => void;
  /** Of a transmission that goes on. Undefined: a handshake comes first. */
  readonly session: Session | undefined;
}

export class Phases {
  readonly #deps: PhasesDeps;
  readonly #stream: ReplyStream;
  readonly #memory: ConnectionMemory;
  readonly #host: PhaseHost;
  readonly #onSettled: () => void;
  #current: Phase;
  #transmission: { readonly session: Session; readonly phase: Transmission } | undefined;
  #device: BlockDevice | undefined;
  #stopping = false;
  /** STARTTLS was answered, and the TLS handshake is not over. */
  #securing = false;
  #secure = false;

  /** The greeting of a handshake is in the stream afterwards. */
  constructor(deps: PhasesDeps, parts: PhasesParts) {
    const { stream, memory, host, onSettled, session } = parts;
    this.#deps = deps;
    this.#stream = stream;
    this.#memory = memory;
    this.#host = host;
    this.#onSettled = onSettled;
    const handshake = this.#handshake(deps.directory, deps.security?.mode ?? 'off');
    this.#current = handshake;
    if (session === undefined) handshake.greet();
    else this.enterTransmission(session);
  }

  get current(): Phase {
    return this.#current;
  }

  /** Undefined while the handshake is not over. */
  get transmission(): Transmission | undefined {
    return this.#transmission?.phase;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  get securing(): boolean {
    return this.#securing;
  }

  get secure(): boolean {
    return this.#secure;
  }

  /** What another process needs to go on; `held` came behind what the transmission has taken. */
  stateWith(held: readonly Buffer[]): ConnectionState {
    assert(this.#transmission !== undefined, 'what is given up is past the handshake');
    const { session, phase } = this.#transmission;
    const { device, mode, allocationContext, aligned } = session;
    const { name: exportName, sizeBytes } = device;
    const pending = Buffer.concat([phase.partialHeader(), ...held]);
    return { exportName, sizeBytes, mode, allocationContext, aligned, pending };
  }

  stop(): void {
    this.#stopping = true;
    this.#current.stop();
  }

  enterTransmission(session: Session): void {
    const { pool, counters, log } = this.#deps;
    const memory = this.#memory;
    this.#current.close();
    this.#device = session.device;
    const executor = new Executor(
      { stream: this.#stream, memory, pool, counters, log, onSettled: this.#onSettled },
      session,
    );
    const phase = new Transmission({ session, executor, memory, pool, host: this.#host });
    this.#current = phase;
    this.#transmission = { session, phase };
  }

  /** A second handshake begins when the wire is sealed, if the connection `isOpen` by then. */
  startTls(noZeroes: boolean, isOpen: () => boolean): void {
    const { security } = this.#deps;
    assert(security !== undefined, 'TLS is offered only where it is configured');
    this.#securing = true;
    this.#current.close();
    this.#stream.flush();
    security.start((directory) => {
      this.#securing = false;
      if (!isOpen()) return;
      this.#secure = true;
      const handshake = this.#handshake(directory, 'active');
      handshake.resume(noZeroes);
      if (this.#stopping) handshake.stop();
      this.#current = handshake;
    });
  }

  /** Only when its last call has settled. */
  closeDevice(): void {
    this.#device?.close();
    this.#device = undefined;
  }

  #handshake(directory: BlockDeviceDirectory, tls: HandshakeTls): Handshake {
    return new Handshake({ directory, stream: this.#stream, host: this.#host, tls });
  }
}
