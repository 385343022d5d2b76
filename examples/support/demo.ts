// What every example's command does around its own work: root, packages, Ctrl-C, the error's text.

import { DEBIAN_PACKAGES, type DebianPackage } from '../../scripts/debian-packages.ts';
import { ensureDebianPackages } from '../../scripts/debian-packages.ts';
import { failureText } from '../../test/support/failure-text.ts';

/** A line for people, on stderr: stdout has the table. */
export function say(line: string): void {
  const seconds = (performance.now() / 1000).toFixed(1).padStart(6);
  process.stderr.write(`[${seconds} s] ${line}\n`);
}

/**
 * Runs `demo`, which stops all that it has started when it ends or its signal is aborted. Resolves
 * with the exit code.
 */
export async function runDemo(
  demo: (signal: AbortSignal) => Promise<void>,
  packages: readonly DebianPackage[] = DEBIAN_PACKAGES,
): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = (): void => {
    if (interrupt.signal.aborted) say('already cleaning up: wait');
    interrupt.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    if (process.getuid?.() !== 0) throw new Error('attaching a block device takes root: use sudo');
    ensureDebianPackages(say, packages);
    await demo(interrupt.signal);
    return 0;
  } catch (error) {
    // What was cut off complains, but only what went wrong while cleaning up matters then.
    const expected = interrupt.signal.aborted && !(error instanceof SuppressedError);
    process.stderr.write(`demo: ${expected ? 'interrupted' : failureText(error)}\n`);
    return 1;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
