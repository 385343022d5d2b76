// The world as a command sees it.

import type { Environment } from './config-file.ts';

/** main.ts gives the real one, tests another. */
export interface CommandContext {
  readonly env: Environment;
  /** One line or a block for scripts and pipes; no newline is added. */
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
}
