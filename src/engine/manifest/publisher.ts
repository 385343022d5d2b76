// The writer's end of the manifest chain: one manifest at a time, each from the state that the last
// one left.
//
// Losing the race for a number means that another writer has opened the branch. A put that fails is
// tried again, with the very same bytes, for as long as it takes: it may have landed, and until
// that is known nothing else may be offered under its number.

import type { Clock } from '../../base/clock.ts';
import { asStorageError, isStorageError, messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { Semaphore } from '../../base/semaphore.ts';
import type { RequestCause } from '../../objectstore/object-store.ts';
import type { Manifest } from './manifest.ts';
import type { ManifestAt, ManifestChain } from './manifest-chain.ts';

const RETRY_DELAY_MS = 1000;

export interface PublisherComponents {
  readonly manifests: ManifestChain;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Called after each manifest, with the number of the one that it replaces. */
  readonly onReplaced: (number: number) => void;
}

export class Publisher {
  readonly #c: PublisherComponents;
  readonly #turn = new Semaphore(1);
  #current: ManifestAt;

  constructor(components: PublisherComponents, current: ManifestAt) {
    this.#c = components;
    this.#current = current;
  }

  /**
   * The newest manifest that is durable: the truth about the branch, as long as we are its writer.
   */
  get current(): ManifestAt {
    return this.#current;
  }

  /**
   * `change` is asked in turn, so that it sees what the last manifest installed, and gets the
   * number that the new one will have; `install` runs once the manifest is durable, before the next
   * one's turn. What `change` throws leaves everything as it was. `exists` when the branch was
   * lost.
   */
  async publish(
    cause: RequestCause,
    change: (current: Manifest, number: number) => Partial<Manifest>,
    install: () => void,
  ): Promise<void> {
    await this.#turn.acquire();
    try {
      // Whoever had the turn may have found out that the branch is lost.
      this.#c.signal.throwIfAborted();
      const number = this.#current.number + 1;
      const manifest = { ...this.#current.manifest, ...change(this.#current.manifest, number) };
      const put = this.#c.manifests.prepare(number, manifest);
      while (!(await this.#tryPut(cause, put))) {
        await this.#c.clock.sleep(RETRY_DELAY_MS, this.#c.signal);
      }
      this.#current = { number, manifest };
      install();
      this.#c.onReplaced(number - 1);
    } finally {
      this.#turn.release();
    }
  }

  /** False when the put shall be tried again. */
  async #tryPut(
    cause: RequestCause,
    put: (cause: RequestCause) => Promise<void>,
  ): Promise<boolean> {
    try {
      await put(cause);
      return true;
    } catch (error) {
      if (this.#c.signal.aborted || fatalError(cause, error) !== undefined) throw error;
      const fields = { what: cause, error: messageOf(error), retryMs: RETRY_DELAY_MS };
      this.#c.log.warn('manifest.put.failed', fields);
      return false;
    }
  }
}

/** What no retry can mend: a lost race for a manifest, damage, a bug. Undefined for the rest. */
export function fatalError(what: string, error: unknown): StorageError | undefined {
  if (!isStorageError(error)) return asStorageError(error, `${what} failed`);
  if (error.kind === 'exists') {
    return new StorageError(
      'fenced',
      `another writer has opened this branch: it published the next manifest (during ${what})`,
      { cause: error },
    );
  }
  return error.kind === 'corrupt' || error.kind === 'fenced' ? error : undefined;
}
