// Export names that carry the write verifier of the server (RFC 0005): a client that connects again
// by such a name is refused when what it wrote may be lost.
//
//   VOLUME            the volume
//   VOLUME/           the same, under its canonical name, which is the next one
//   VOLUME/VERIFIER   the volume, while that is the verifier

import { StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { BlockDeviceDirectory } from '../../volume/block-device.ts';

/** No volume's name has it. */
const SEPARATOR = '/';

/** The volume that an export name means. */
export function volumeOf(exportName: string): string {
  const at = exportName.indexOf(SEPARATOR);
  return at < 0 ? exportName : exportName.slice(0, at);
}

/** `open` throws `denied` for a verifier that is not `writeVerifier`. */
export function withWriteVerifier(
  directory: BlockDeviceDirectory,
  writeVerifier: string,
  log: Log,
): BlockDeviceDirectory {
  // A client that is refused asks again each second: one line says all.
  let refused = '';
  return {
    list: () => directory.list(),
    open(exportName) {
      const volume = volumeOf(exportName);
      const device = directory.open(volume);
      if (exportName === volume) return device;
      const asked = exportName.slice(volume.length + SEPARATOR.length);
      if (asked === '' || asked === writeVerifier) {
        return { ...device, name: `${volume}${SEPARATOR}${writeVerifier}` };
      }
      device.close();
      const lost = 'the server that had it ended without making durable what it had answered';
      const what = `the write verifier of "${volume}" is not ${asked} any more`;
      const message = `${what}: ${lost}, or another wrote in between. Attach anew`;
      if (refused !== exportName) log.warn('nbd.client.of.lost.server', { volume, message });
      refused = exportName;
      throw new StorageError('denied', message);
    },
  };
}
