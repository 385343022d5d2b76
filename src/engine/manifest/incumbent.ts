// This process as the writer of the branch, for as long as no other has taken over: publishes
// changes of roots, finds out that it was deposed, and tells damage from what a successor deleted.

import { isStorageError, type StorageError } from '../../base/errors.ts';
import { throwIfDeposed } from './deposed.ts';
import type { Manifest } from './manifest.ts';
import type { ManifestChain } from './manifest-chain.ts';
import { fatalError, type Publisher } from './publisher.ts';

export interface IncumbentComponents {
  readonly manifests: ManifestChain;
  readonly publisher: Publisher;
  /** Losing the branch stops the engine. */
  readonly onFailed: (error: StorageError) => void;
}

export class Incumbent {
  readonly #c: IncumbentComponents;
  readonly #epoch: number;

  constructor(components: IncumbentComponents, epoch: number) {
    this.#c = components;
    this.#epoch = epoch;
  }

  /** Publishes a change of roots. Losing the branch stops the engine. */
  async publish(
    change: (current: Manifest, number: number) => Partial<Manifest>,
    install: () => void,
  ): Promise<void> {
    try {
      await this.#c.publisher.publish('admin', change, install);
      // A number below the highest may be free again, because a successor has replaced and deleted
      // its manifest: what has landed there is nobody's, and must not be told to have been done.
      await this.throwIfDeposed();
    } catch (error) {
      const fatal = isStorageError(error, 'exists') ? fatalError('admin', error) : undefined;
      if (fatal === undefined) throw error;
      this.#c.onFailed(fatal);
      throw fatal;
    }
  }

  /**
   * Why the background must stop, or undefined when it shall try again. What a deposed writer finds
   * missing its successor has deleted: damage is believed once it is known that there is none.
   */
  async judge(what: string, error: unknown): Promise<StorageError | undefined> {
    const fatal = fatalError(what, error);
    if (fatal?.kind !== 'corrupt') return fatal;
    try {
      await this.throwIfDeposed();
      return fatal;
    } catch (reason) {
      return fatalError(what, reason);
    }
  }

  /** `fenced`, and the end of the engine, when another writer has published a manifest. */
  async throwIfDeposed(): Promise<void> {
    const { manifests, publisher, onFailed } = this.#c;
    const reign = { newest: () => publisher.current.number, epoch: this.#epoch };
    try {
      await throwIfDeposed(manifests, reign, 'read');
    } catch (error) {
      if (isStorageError(error, 'fenced')) onFailed(error);
      throw error;
    }
  }

  /** For work on roots: what it misses because a successor deleted it is `fenced`. */
  async unlessDeposed<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (lacks(error)) await this.throwIfDeposed();
      throw error;
    }
  }
}

/** Whether it may come of a successor's deletions, or of a branch that it has given up. */
function lacks(error: unknown): boolean {
  if (!isStorageError(error)) return false;
  return error.kind === 'corrupt' || error.kind === 'notFound' || error.kind === 'aborted';
}
