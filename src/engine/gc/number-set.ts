// A set of numbers below 2^53 that come in clusters (log numbers, object ids): one bit each, in
// pages of 65,536. A million log objects take 128 KiB.

const PAGE_NUMBERS = 65_536;

export class NumberSet {
  readonly #pages = new Map<number, Uint32Array>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get memoryBytes(): number {
    return this.#pages.size * (PAGE_NUMBERS / 8);
  }

  /** False when it was there already. */
  add(value: number): boolean {
    const number = Math.floor(value / PAGE_NUMBERS);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(PAGE_NUMBERS / 32);
      this.#pages.set(number, page);
    }
    const at = value % PAGE_NUMBERS;
    const bit = 1 << (at & 31);
    if ((page[at >>> 5]! & bit) !== 0) return false;
    page[at >>> 5]! |= bit;
    this.#size += 1;
    return true;
  }

  has(value: number): boolean {
    const page = this.#pages.get(Math.floor(value / PAGE_NUMBERS));
    if (page === undefined) return false;
    const at = value % PAGE_NUMBERS;
    return (page[at >>> 5]! & (1 << (at & 31))) !== 0;
  }
}
