// What one connection holds for its client, in bytes. A share is its own, so that it goes on while
// others have all the rest; what is past it comes from the budget of all connections.
//
//   the client's turn   payloads that are on their way, replies that it has not taken
//   the device's turn   payloads and read buffers of requests that are under way

import { assert } from '../../base/assert.ts';
import type { ByteBudget, Holder } from './byte-budget.ts';
import { CONNECTION_BYTES_MAX, CONNECTION_OWN_BYTES } from './limits.ts';
import type { PhaseHost } from './phase.ts';

export class ConnectionMemory implements Holder {
  readonly #budget: ByteBudget;
  readonly #host: Pick<PhaseHost, 'fail'>;
  #client = 0;
  #device = 0;
  /** Of the budget. */
  #shared = 0;
  #moved = true;

  constructor(budget: ByteBudget, host: Pick<PhaseHost, 'fail'>) {
    this.#budget = budget;
    this.#host = host;
  }

  get bytes(): number {
    return this.#client + this.#device;
  }

  /** Whether a request that needs so many bytes may begin. One that needs none always may. */
  admits(bytes: number): boolean {
    const after = this.bytes + bytes;
    if (bytes === 0 || after <= CONNECTION_OWN_BYTES) return true;
    return after <= CONNECTION_BYTES_MAX && !this.#budget.full;
  }

  /** `bytes` more, or fewer, wait for the client. */
  forClient(bytes: number): void {
    this.#client += bytes;
    this.#moved = true;
    this.#settle();
  }

  /** `bytes` more, or fewer, wait for the device. */
  forDevice(bytes: number): void {
    this.#device += bytes;
    this.#settle();
  }

  /** The client has sent something of a payload that is counted already. */
  moved(): void {
    this.#moved = true;
  }

  stalled(): boolean {
    const stalled = !this.#moved && this.#client > 0;
    this.#moved = false;
    return stalled;
  }

  evict(): void {
    this.#host.fail('its client lets lie what others wait for');
  }

  #settle(): void {
    assert(this.#client >= 0 && this.#device >= 0, 'no more is given back than was taken');
    const shared = Math.max(0, this.bytes - CONNECTION_OWN_BYTES);
    if (shared === this.#shared) return;
    this.#budget.change(this, this.#shared, shared);
    this.#shared = shared;
  }
}
