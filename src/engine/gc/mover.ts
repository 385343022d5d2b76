// Moves what lives in victims into data objects, at a pace: writers get credit for what each of
// them frees, and with much credit left it rests in between. Damage in a victim is logged and the
// victim left alone.

import type { Clock } from '../../base/clock.ts';
import { isStorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { CipherName, CompressionName } from '../../codec/types.ts';
import type { Credit } from './credit.ts';
import { Relocation, type RelocationComponents } from './relocation.ts';
import type { Victim } from './survey.ts';

export interface MoverSettings {
  readonly frameBytes: number;
  readonly segmentBytes: number;
}

export interface MoverComponents extends Omit<RelocationComponents, 'cipher'> {
  readonly format: { readonly cipher: CipherName; readonly compression: CompressionName };
  readonly clock: Clock;
  readonly log: Log;
}

/** With full credit left it rests so many times as long as it works. */
const REST_MAX = 2;

export class Mover {
  readonly #c: MoverComponents;
  readonly #settings: MoverSettings;
  readonly #credit: Credit;
  #relocation: Relocation | undefined;
  /** Segments that could not be read, so as not to try them over and over. */
  readonly #damaged = new Set<number>();
  movedBytes = 0;

  constructor(components: MoverComponents, settings: MoverSettings, credit: Credit) {
    this.#c = components;
    this.#settings = settings;
    this.#credit = credit;
  }

  /** Those of `victims` that are worth a try. */
  sound(victims: readonly Victim[]): readonly Victim[] {
    return victims.filter(({ segment }) => !this.#damaged.has(segment));
  }

  /**
   * All of them is committed when it resolves, or as many as it took until `isHeld`. `span` bytes
   * of credit make it rest the longest.
   */
  async move(victims: readonly Victim[], span: number, isHeld: () => boolean): Promise<void> {
    const { clock, signal, log } = this.#c;
    const { segmentBytes, frameBytes } = this.#settings;
    const sealing = { ...this.#c.format, frameBytes };
    this.#relocation ??= new Relocation(this.#c, sealing, segmentBytes);
    const relocation = this.#relocation;
    for (const victim of victims) {
      if (signal.aborted || isHeld()) break;
      const startMs = clock.monotonicMs();
      const movedBefore = relocation.movedBytes;
      try {
        await relocation.add(victim);
      } catch (error) {
        if (!isStorageError(error, 'corrupt')) throw error;
        this.#damaged.add(victim.segment);
        log.error('collection.damaged', { segment: victim.segment, error: error.message });
      }
      this.movedBytes += relocation.movedBytes - movedBefore;
      const { table, live } = victim;
      const freed = table.offsets.at(-1)! * (1 - live / table.blocks);
      this.#credit.grant(freed);
      const restShare = Math.max(0, Math.min(1, this.#credit.bytes / span)) * REST_MAX;
      const restMs = (clock.monotonicMs() - startMs) * restShare;
      if (restMs >= 1) await clock.sleep(restMs, signal).catch(() => {});
    }
    const movedBefore = relocation.movedBytes;
    await relocation.finish();
    this.movedBytes += relocation.movedBytes - movedBefore;
  }
}
