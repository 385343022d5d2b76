// The process `varve`: runs one command, prints what went wrong as one line, and sets the exit
// code.

import { errorText, EXIT_DONE, exitCodeOf } from './exit-codes.ts';
import type { CommandContext } from './command-context.ts';
import { runProgram } from './program.ts';

const args = process.argv.slice(2);
const context: CommandContext = {
  env: process.env,
  print: (text) => void process.stdout.write(text),
  printError: (text) => void process.stderr.write(text),
};

// A reader that closes its end early (`varve status | head -1`) is no error of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT_DONE : exitCodeOf(error));
});

try {
  await runProgram(args, context);
} catch (error) {
  process.stderr.write(errorText(error, wantsStack(args)));
  process.exitCode = exitCodeOf(error);
}

/** Looks at the words themselves: the error may well be that they cannot be parsed. */
function wantsStack(words: readonly string[]): boolean {
  const at = words.indexOf('--log-level');
  return words.includes('--log-level=debug') || (at >= 0 && words[at + 1] === 'debug');
}
