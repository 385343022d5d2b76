// Memory that threads see without copying.

/** `bytes` of zeroed shared memory: what a sealer reads and writes in place. */
export function allocateShared(bytes: number): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(new SharedArrayBuffer(bytes));
}

/** True when other threads can be handed `bytes` by reference. */
export function isShared(bytes: Uint8Array): bytes is Uint8Array<SharedArrayBuffer> {
  return bytes.buffer instanceof SharedArrayBuffer;
}
