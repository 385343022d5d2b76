// What covers a reader that waits: nothing is deleted under it, and damage that it meets is
// believed only when no other process can have deleted what is missing.

import { isStorageError } from '../base/errors.ts';
import type { Maybe } from '../base/maybe.ts';
import type { Follower } from './follow/follower.ts';
import type { Grace } from './gc/grace.ts';
import type { Incumbent } from './manifest/incumbent.ts';

export interface ReadGuardComponents {
  readonly grace: Grace;
  /** Of a branch that is written here. */
  readonly incumbent: Incumbent | undefined;
  /** Of a branch that is followed. */
  readonly follower: Follower | undefined;
}

export class ReadGuard {
  readonly #c: ReadGuardComponents;

  constructor(components: ReadGuardComponents) {
    this.#c = components;
  }

  /**
   * Counts a reader that waits, so that nothing is deleted under it. What a deposed writer finds
   * missing, its successor has deleted. A follower that finds something missing looks `again`
   * whenever it had fallen behind the writer.
   */
  async hold<T>(reading: Promise<T>, again?: () => Maybe<T>): Promise<T> {
    const { grace, incumbent, follower } = this.#c;
    const view = follower?.view;
    try {
      return await grace.hold(reading);
    } catch (error) {
      if (!isStorageError(error, 'corrupt')) throw error;
      await incumbent?.throwIfDeposed();
      if (again === undefined || follower === undefined || view === undefined) throw error;
      if (!(await follower.hasMoved(view))) throw error;
      return await this.hold(Promise.resolve(again()), again);
    }
  }
}
