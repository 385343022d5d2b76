// One upgrade at a time, asked for by a signal or over the admin socket, and what a stop means
// while one is under way.
//
//   idle ──upgrade──▶ preparing ──▶ handing over ──▶ replaced
//     ◀───(failed, or stop)──┘            └──(failed)──▶ `replaced` rejects: the server has stopped

import { messageOf, StorageError } from '../../base/errors.ts';
import { handOver, prepareSuccessor } from './predecessor.ts';
import type { Prepared, UpgradeDeps, UpgradeReport } from './predecessor.ts';

export type UpgraderDeps = Pick<UpgradeDeps, 'clock' | 'log'> & {
  /** Undefined before the server serves. */
  readonly source: () => UpgradeDeps['source'] | undefined;
  readonly passphrase: () => string | undefined;
};

export interface Upgrader {
  /** Throws why not. Until `handing over` nothing is changed by that. */
  upgrade(onProgress: (what: string) => void): Promise<UpgradeReport>;
  /** Resolves when the new process serves, rejects when it does not and this one cannot. */
  readonly replaced: Promise<void>;
  /**
   * This process was told to stop. True when it is too late for that: the new process is told, and
   * `replaced` is to be waited for.
   */
  stop(): Promise<boolean>;
}

export function createUpgrader(deps: UpgraderDeps): Upgrader {
  const { log } = deps;
  const replaced = Promise.withResolvers<void>();
  // The caller of the upgrade hears of it, too.
  replaced.promise.catch(() => {});
  let preparing: { readonly abort: AbortController; readonly over: Promise<unknown> } | undefined;
  let handingOver: Prepared | undefined;

  async function upgrade(onProgress: (what: string) => void): Promise<UpgradeReport> {
    const source = deps.source();
    if (source === undefined) throw new StorageError('unavailable', 'the server is starting');
    if (preparing !== undefined || handingOver !== undefined) {
      throw new StorageError('exists', 'an upgrade is under way');
    }
    const abort = new AbortController();
    const { clock } = deps;
    const passphrase = deps.passphrase();
    const step = { source, clock, log, passphrase, onProgress, signal: abort.signal };
    log.info('upgrade.began');
    const prepared = prepareSuccessor(step);
    preparing = { abort, over: prepared.catch(() => {}) };
    try {
      handingOver = await prepared;
    } catch (error) {
      log.error('upgrade.failed', { message: messageOf(error), hint: 'this process serves on' });
      throw error;
    } finally {
      preparing = undefined;
    }
    try {
      const report = await handOver(step, handingOver);
      replaced.resolve();
      return report;
    } catch (error) {
      log.error('upgrade.failed', { message: messageOf(error), hint: 'the server has stopped' });
      replaced.reject(error);
      throw error;
    }
  }

  return {
    upgrade,
    replaced: replaced.promise,
    async stop() {
      if (preparing !== undefined) {
        preparing.abort.abort(new StorageError('aborted', 'the server is stopping'));
        await preparing.over;
      }
      // It may have come too late to end the preparation.
      if (handingOver === undefined) return false;
      // One that is gone already fails the upgrade: `replaced` says so.
      await handingOver.successor.send({ type: 'stop' }).catch(() => {});
      return true;
    },
  };
}
