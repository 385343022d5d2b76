// Filling a volume in order, and reading back what was written.

import type { Content } from './content.ts';
import { atDepth } from './load.ts';
import type { NbdClient } from './nbd-client.ts';

const FILL_DEPTH = 8;
const VERIFY_DEPTH = 8;
/** Of one request. */
const REQUEST_BYTES = 128 * 1024;

/** Writes the first `blocks` blocks in order, and flushes. */
export async function fill(client: NbdClient, content: Content, blocks: number): Promise<void> {
  await eachRequest(content, blocks, FILL_DEPTH, (first, count) =>
    content.write(client, first, count),
  );
  await client.flush();
}

/** Reads the first `blocks` blocks in order and compares them. */
export async function verifyAll(
  client: NbdClient,
  content: Content,
  blocks: number,
): Promise<void> {
  await eachRequest(content, blocks, VERIFY_DEPTH, (first, count) =>
    content.verify(client, first, count),
  );
}

/** Compares `count` random ones of the first `blocks` blocks. */
export async function verifySome(
  client: NbdClient,
  content: Content,
  blocks: number,
  count: number,
): Promise<void> {
  let done = 0;
  await atDepth(VERIFY_DEPTH, () => {
    if (done === count) return undefined;
    done += 1;
    return content.verify(client, content.pick(blocks));
  });
}

async function eachRequest(
  content: Content,
  blocks: number,
  depth: number,
  request: (first: number, count: number) => Promise<void>,
): Promise<void> {
  const together = Math.max(1, Math.floor(REQUEST_BYTES / content.blockBytes));
  let next = 0;
  await atDepth(depth, () => {
    if (next >= blocks) return undefined;
    const first = next;
    next = Math.min(blocks, first + together);
    return request(first, next - first);
  });
}
