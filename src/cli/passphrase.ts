// Where the passphrase comes from: VARVE_PASSPHRASE, else --passphrase-file, else a terminal prompt
// without echo. Never a flag: other users of the machine can read a process's arguments.

import { readFile, stat } from 'node:fs/promises';
import type { ReadStream, WriteStream } from 'node:tty';
import { messageOf, StorageError } from '../base/errors.ts';

export interface PassphraseSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file: string | undefined;
  /** Undefined when there is no terminal to ask at. */
  readonly terminal: { readonly input: ReadStream; readonly output: WriteStream } | undefined;
  readonly warn: (message: string) => void;
}

/**
 * Asks twice with `confirm`. Throws `invalid` when there is no source, or the passphrase is empty.
 */
export async function readPassphrase(
  sources: PassphraseSources,
  { confirm }: { readonly confirm: boolean },
): Promise<string> {
  const passphrase = await fromSources(sources, confirm);
  if (passphrase !== '') return passphrase;
  throw new StorageError('invalid', 'the passphrase is empty: give one of at least one character');
}

async function fromSources(sources: PassphraseSources, confirm: boolean): Promise<string> {
  const fromEnv = sources.env['VARVE_PASSPHRASE'];
  if (fromEnv !== undefined) return fromEnv;
  if (sources.file !== undefined) return fromFile(sources.file, sources.warn);
  if (sources.terminal === undefined) {
    throw new StorageError(
      'invalid',
      'no passphrase: set VARVE_PASSPHRASE or give --passphrase-file FILE',
    );
  }
  const first = await prompt(sources.terminal, 'Passphrase: ');
  if (confirm && (await prompt(sources.terminal, 'Again: ')) !== first) {
    throw new StorageError('invalid', 'the two passphrases differ: nothing was done, try again');
  }
  return first;
}

async function fromFile(path: string, warn: (message: string) => void): Promise<string> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      warn(`the passphrase file ${path} can be read by others: chmod 600 ${path}`);
    }
    return (await readFile(path, 'utf8')).replace(/\r?\n$/, '');
  } catch (cause) {
    throw new StorageError('invalid', `cannot read the passphrase file: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** One line typed at the terminal in raw mode, which shows nothing of it. */
function prompt(
  { input, output }: NonNullable<PassphraseSources['terminal']>,
  question: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let typed = '';
    const finish = (settle: () => void): void => {
      input.off('data', onData);
      input.setRawMode(false);
      input.pause();
      output.write('\n');
      settle();
    };
    const onData = (chunk: string): void => {
      for (const character of chunk) {
        if (character === '\r' || character === '\n') return finish(() => resolve(typed));
        if (character === '\u0003' || character === '\u0004') {
          return finish(() => reject(new StorageError('aborted', 'no passphrase was given')));
        }
        if (character === '\u007f' || character === '\b') typed = typed.replace(/.$/u, '');
        else typed += character;
      }
    };
    output.write(question);
    input.setRawMode(true);
    input.setEncoding('utf8');
    input.on('data', onData);
    input.resume();
  });
}
