// Which process a pid is: pids are used again.

import { readFileSync } from 'node:fs';

/**
 * Kernel ticks between boot and the process's start; empty where /proc does not tell.
 *
 * Field 22 of /proc/PID/stat (proc(5)); the command in field 2 may hold spaces, so count from its
 * end. A process that has ended and waits for its parent to notice (Z) has not begun at any time.
 */
export function processStart(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? 'ended' : (fields[19] ?? '');
  } catch {
    // No /proc, or no such process: the pid alone has to do.
    return '';
  }
}
