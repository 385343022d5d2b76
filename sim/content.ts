// The bytes of one operation: no two operations write the same, blocks of zeroes apart.

import type { Dice } from './dice.ts';

const BLOCK_BYTES = 4096;

/** Noise, text that compresses well, and now and then blocks of zeroes. */
export function drawContent(dice: Dice, operation: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (operation * 0x9e3779b1) >>> 0 || 1;
  if (dice.chance(0.5)) {
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = state;
    }
  } else {
    for (let i = 0; i < words.length; i++) words[i] = state + (i >>> 5);
  }
  const content = new Uint8Array(words.buffer, 0, length);
  if (dice.chance(0.2)) {
    const from = dice.int(0, Math.floor(length / BLOCK_BYTES)) * BLOCK_BYTES;
    content.fill(0, from, from + BLOCK_BYTES * dice.int(1, 4));
  }
  return content;
}
