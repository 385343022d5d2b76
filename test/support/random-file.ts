// Files of incompressible bytes, and copies of them compared.

import { createCipheriv } from 'node:crypto';
import { open } from 'node:fs/promises';
import { runCommand } from './command.ts';

const MIB = 1024 * 1024;

/** Writes `bytes` (whole MiB) that depend on `seed` alone: AES in counter mode, a GB a second. */
export async function writeRandomFile(path: string, bytes: number, seed: number): Promise<void> {
  const key = Buffer.alloc(16, seed);
  const stream = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const zeroes = Buffer.alloc(MIB);
  const file = await open(path, 'w');
  try {
    for (let at = 0; at < bytes; at += MIB) await file.write(stream.update(zeroes));
  } finally {
    await file.close();
  }
}

/** Throws, naming the first difference, when the two are not identical. */
export async function expectSameFiles(one: string, other: string): Promise<void> {
  await runCommand('cmp', [one, other]);
}
