// FIFO queues of slots: doubly linked lists in two typed arrays that all queues of a policy share.
//
//   oldest ⇄ … ⇄ newest      previous[slot] is the neighbour that came earlier, next[slot] later
//
// Invariant: a slot is in at most one queue at a time, so one pair of links per slot is enough. Any
// slot can leave from the middle in constant time: a dead block gives its room back at once.

const NONE = -1;

export class SlotLinks {
  readonly next: Int32Array;
  readonly previous: Int32Array;

  constructor(slotCount: number) {
    this.next = new Int32Array(slotCount);
    this.previous = new Int32Array(slotCount);
  }

  get memoryBytes(): number {
    return this.next.byteLength + this.previous.byteLength;
  }
}

export class SlotQueue {
  readonly #links: SlotLinks;
  #newest = NONE;
  #oldest = NONE;
  #size = 0;

  constructor(links: SlotLinks) {
    this.#links = links;
  }

  get size(): number {
    return this.#size;
  }

  /** The slot that came first, or -1. */
  get oldest(): number {
    return this.#oldest;
  }

  push(slot: number): void {
    const { next, previous } = this.#links;
    next[slot] = NONE;
    previous[slot] = this.#newest;
    if (this.#newest === NONE) this.#oldest = slot;
    else next[this.#newest] = slot;
    this.#newest = slot;
    this.#size += 1;
  }

  /** Takes out the slot that came first, or returns -1. */
  shift(): number {
    const slot = this.#oldest;
    if (slot !== NONE) this.remove(slot);
    return slot;
  }

  /** `slot` must be in this queue. */
  remove(slot: number): void {
    const { next, previous } = this.#links;
    const later = next[slot]!;
    const earlier = previous[slot]!;
    if (later === NONE) this.#newest = earlier;
    else previous[later] = earlier;
    if (earlier === NONE) this.#oldest = later;
    else next[earlier] = later;
    this.#size -= 1;
  }
}
