// Which exports a client may open. For one that it may not open everything is as if there were no
// such export: NBD has an error of its own for that (ERR_POLICY), but it would tell that the name
// exists.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { BlockDeviceDirectory } from '../../volume/block-device.ts';
import { volumeOf } from './verified-exports.ts';

/** Export names by client identity; `*` among the names is all of them. */
export type AccessTable = Readonly<Record<string, readonly string[]>>;

/** The entry of clients that have none of their own, and of those without an identity. */
export const EVERYBODY = '*';
const ALL_EXPORTS = '*';

/** What `identity` sees of the directory; undefined is a client that did not say who it is. */
export function directoryFor(
  directory: BlockDeviceDirectory,
  access: AccessTable | undefined,
  identity: string | undefined,
): BlockDeviceDirectory {
  if (access === undefined) return directory;
  const names = namesFor(access, identity);
  if (names.includes(ALL_EXPORTS)) return directory;
  return {
    list: () => directory.list().filter(({ name }) => names.includes(name)),
    open(name) {
      const missing = `there is no export "${name}"`;
      if (!names.includes(volumeOf(name))) throw new StorageError('notFound', missing);
      try {
        return directory.open(name);
      } catch (error) {
        // The directory's own message may name what there is.
        if (isStorageError(error, 'notFound')) throw new StorageError('notFound', missing);
        throw error;
      }
    },
  };
}

function namesFor(access: AccessTable, identity: string | undefined): readonly string[] {
  // Identities are text from outside: `constructor` is no entry.
  const key = identity !== undefined && Object.hasOwn(access, identity) ? identity : EVERYBODY;
  return Object.hasOwn(access, key) ? access[key]! : [];
}
