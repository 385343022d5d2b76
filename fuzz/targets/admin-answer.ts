// The answers of an admin server, as node:http hands them to the client: status, and text in parts.
//
//   u8 what is asked │ u8 a quarter of the status │ u8 characters of a part, 0: whole │ text

import type { StorageErrorKind } from '../../src/base/errors.ts';
import { type AdminClient, createAdminClient } from '../../src/server/http/client.ts';
import { COLLECTED, STATUS, UPGRADED } from '../../src/server/http/testing.ts';
import { expect, type Target } from '../target.ts';

/** Whatever kind the answer names is passed on. */
export const ADMIN_KINDS: readonly StorageErrorKind[] = [
  ...(['notFound', 'exists', 'invalid', 'corrupt', 'fenced', 'wrongKey', 'readOnly'] as const),
  ...(['denied', 'unavailable', 'noSpace', 'aborted'] as const),
];

export const ADMIN_WORDS: readonly string[] = [
  '{"progress":',
  '"error":{"kind":',
  '"__proto__":',
  '}\n',
  '1e999',
  '-1',
  'null',
  '[',
  ']',
  '"name":',
  '"sizeBytes":',
  '"usedBytes":',
  '"createdUnixMs":',
  '"parent":',
  '\\ud800',
];

const PROGRESS = JSON.stringify({ progress: { what: 'x', done: 1, total: 2 } });
export const REFUSED = JSON.stringify({ error: { kind: 'notFound', message: 'no such' } });
export const NEWS = `${PROGRESS}\n${PROGRESS}\n${REFUSED}\n`;

export const ASKS = 8;

export async function askAdmin(client: AdminClient, what: number): Promise<void> {
  const onProgress = (told: string, done: number, total: number): void => {
    expect(typeof told === 'string' && done >= 0 && total >= 0, 'progress was checked');
  };
  if (what === 0) expect((await client.status()).epoch >= 0, 'a status was checked');
  else if (what === 1) {
    for (const { name, sizeBytes } of await client.listVolumes()) {
      expect(typeof name === 'string' && sizeBytes >= 0, 'a volume was checked');
    }
  } else if (what === 2) await client.collect(onProgress);
  else if (what === 3) await client.flush();
  else if (what === 4) await client.listSnapshots();
  else if (what === 5) await client.listBranches();
  else if (what === 6) await client.createBranch('b', 's');
  else await client.upgrade(onProgress);
}

function seed(what: number, status: number, part: number, text: string): Uint8Array {
  return Uint8Array.of(what, status / 4, part, ...new TextEncoder().encode(text));
}

function answerTarget(): Target {
  let input: Uint8Array = new Uint8Array(0);
  const client = createAdminClient('admin.sock', async (_question, onText) => {
    const text = new TextDecoder().decode(input.subarray(3));
    const step = input[2] || Math.max(1, text.length);
    for (let at = 0; at < text.length; at += step) onText(text.slice(at, at + step));
    return (input[1] ?? 0) * 4;
  });
  const volume = { name: 'disk', sizeBytes: 8192, usedBytes: 1, description: 'new' };
  const snapshot = { name: 's', createdUnixMs: 5, reachedBytes: 2, ownBytes: 1, branches: ['b'] };
  const branch = { name: 'b', id: '2', served: false, parent: 'main', keptBytes: 0 };
  return {
    name: 'admin-answer',
    kinds: ADMIN_KINDS,
    words: ADMIN_WORDS,
    seeds: () => [
      seed(0, 200, 0, JSON.stringify(STATUS)),
      seed(1, 200, 9, JSON.stringify({ volumes: [volume] })),
      seed(2, 200, 7, NEWS),
      seed(2, 200, 0, `${PROGRESS}\n${JSON.stringify(COLLECTED)}\n`),
      seed(3, 404, 0, REFUSED),
      seed(3, 200, 0, '{}'),
      seed(4, 200, 0, JSON.stringify({ snapshots: [snapshot] })),
      seed(5, 200, 0, JSON.stringify({ branches: [branch] })),
      seed(6, 200, 1, JSON.stringify(branch)),
      seed(7, 200, 0, `${PROGRESS}\n${JSON.stringify(UPGRADED)}\n`),
    ],
    async run(bytes) {
      input = bytes;
      await askAdmin(client, (bytes[0] ?? 0) % ASKS);
    },
  };
}

export const targets: readonly Target[] = [answerTarget()];
