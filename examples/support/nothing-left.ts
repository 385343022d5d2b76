// What the tests of all examples check in the end: whatever was started is gone.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Mounts, loop devices and processes with files in them show the folders that they stand in. */
export function assertNothingLeft(folders: readonly string[]): void {
  assert.ok(folders.length > 0);
  const mounts = readFileSync('/proc/self/mounts', 'utf8');
  const loops = readdirSync('/sys/block').flatMap((name) => {
    const file = `/sys/block/${name}/loop/backing_file`;
    return existsSync(file) ? [readFileSync(file, 'utf8')] : [];
  });
  const commands = readdirSync('/proc').flatMap((pid) => {
    const file = `/proc/${pid}/cmdline`;
    try {
      return /^\d+$/.test(pid) ? [readFileSync(file, 'utf8')] : [];
    } catch {
      // It has ended in the meantime.
      return [];
    }
  });
  for (const folder of folders) {
    assert.ok(!existsSync(folder), `${folder} is left`);
    assert.ok(!mounts.includes(folder), `something is mounted in ${folder}`);
    assert.deepEqual(
      [...loops, ...commands].filter((text) => text.includes(folder)),
      [],
    );
  }
}
