// Whether a barrier is about to be asked for. Programs that commit write and flush in turn, nearly
// always the same number of writes before each flush: a database appends to its log once, then
// flushes. When the last of those writes is there, its record need not wait for the flush.
//
// A counter that saturates, as branch predictors have: some strays don't make it forget. Wrong
// guesses cost a record and an fdatasync that the next barrier would not have needed.

const CONFIDENCE_MAX = 3;
const CONFIDENCE_NEEDED = 2;

export class Foresight {
  /** Since the last barrier. */
  #changes = 0;
  #expected = 0;
  #confidence = 0;

  /** Something was changed. True when a barrier is likely to be next. */
  changed(): boolean {
    this.#changes += 1;
    return this.#changes === this.#expected && this.#confidence >= CONFIDENCE_NEEDED;
  }

  barrier(): void {
    const changes = this.#changes;
    // One that has nothing to wait for says nothing of the others.
    if (changes === 0) return;
    this.#changes = 0;
    if (changes === this.#expected) {
      this.#confidence = Math.min(CONFIDENCE_MAX, this.#confidence + 1);
    } else if (this.#confidence > 0) {
      this.#confidence -= 1;
    } else {
      this.#expected = changes;
    }
  }
}
