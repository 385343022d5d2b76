// The thread that appends to the journal: see node-journal-disk.ts. It never returns to its event
// loop; buffers that it shall know are taken from its port when a request comes.

import { fdatasyncSync, writeSync } from 'node:fs';
import { isMainThread, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';

/** 64-bit fields of the request that both threads see. */
export const RequestField = {
  number: 0,
  fd: 1,
  offset: 2,
  bytes: 3,
  position: 4,
  durable: 5,
} as const;
export const REQUEST_FIELDS = 6;

export interface AppendReply {
  /** What the operating system said, undefined when all went well. A clone would lose the code. */
  readonly error: { readonly code: string | undefined; readonly message: string } | undefined;
}

function serve(request: BigInt64Array): never {
  const port = parentPort!;
  let seen = 0n;
  let buffer: SharedArrayBuffer | undefined;
  for (;;) {
    Atomics.wait(request, RequestField.number, seen);
    const number = Atomics.load(request, RequestField.number);
    if (number === seen) continue;
    seen = number;
    for (;;) {
      const received = receiveMessageOnPort(port);
      if (received === undefined) break;
      buffer = received.message as SharedArrayBuffer;
    }
    let error: AppendReply['error'];
    try {
      append(request, new Uint8Array(buffer!));
    } catch (reason) {
      const { code, message } = reason as NodeJS.ErrnoException;
      error = { code, message };
    }
    port.postMessage({ error } satisfies AppendReply);
  }
}

function append(request: BigInt64Array, shared: Uint8Array): void {
  const fd = Number(request[RequestField.fd]);
  let offset = Number(request[RequestField.offset]);
  let left = Number(request[RequestField.bytes]);
  let position = Number(request[RequestField.position]);
  while (left > 0) {
    const written = writeSync(fd, shared, offset, left, position);
    offset += written;
    position += written;
    left -= written;
  }
  if (request[RequestField.durable] === 1n) fdatasyncSync(fd);
}

if (!isMainThread && workerData instanceof SharedArrayBuffer) {
  serve(new BigInt64Array(workerData));
}
