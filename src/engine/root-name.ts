// Names of snapshots and branches.

import { StorageError } from '../base/errors.ts';

const NAME_BYTES_MAX = 128;

/** `invalid` for a name that would be awkward on a command line, in a path or in a table. */
export function checkRootName(what: 'snapshot' | 'branch', name: string): void {
  if (name.length <= NAME_BYTES_MAX && /^[A-Za-z0-9][A-Za-z0-9._:@+-]*$/.test(name)) return;
  throw new StorageError(
    'invalid',
    `"${name}" is no ${what} name: 1 to ${NAME_BYTES_MAX} letters, digits and . _ : @ + -, ` +
      'beginning with a letter or digit',
  );
}
