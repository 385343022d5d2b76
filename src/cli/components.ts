// The real components of a process that opens a store: clock, randomness, log, progress,
// passphrase.

import { systemClock, systemRng } from '../base/system.ts';
import type { DaemonComponents } from '../daemon.ts';
import { readPassphrase } from './passphrase.ts';
import { createPinoLog } from './pino-log.ts';
import type { CommandContext } from './command-context.ts';
import { readVersion } from './program.ts';
import { createProgress } from './progress.ts';
import type { Settings } from './settings.ts';

/** With `newPassphrase` a person at a terminal is asked twice. */
export async function realComponents(
  settings: Settings,
  context: CommandContext,
  options: { readonly newPassphrase: boolean },
): Promise<DaemonComponents> {
  const log = createPinoLog({ level: settings.logLevel, format: settings.logFormat });
  const { stdin, stderr } = process;
  const terminal =
    stdin.isTTY === true && stderr.isTTY === true ? { input: stdin, output: stderr } : undefined;
  return {
    clock: systemClock,
    rng: systemRng,
    log,
    progress: createProgress(systemClock, stderr),
    version: await readVersion(),
    env: context.env,
    passphrase: () =>
      readPassphrase(
        {
          env: context.env,
          file: settings.passphraseFile,
          terminal,
          warn: (message) => context.printError(`varve: ${message}\n`),
        },
        { confirm: options.newPassphrase },
      ),
  };
}
