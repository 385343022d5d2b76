// Where the server listens: `HOST:PORT`, `[IPV6]:PORT`, `HOST` (the default port), or `unix:PATH`.

import { StorageError } from '../../base/errors.ts';
import { NBD_PORT } from '../../proto/nbd/constants.ts';

export type NbdAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

const PORT_MAX = 65_535;
/** sun_path of unix(7) holds 108 bytes with its terminator. */
const UNIX_PATH_BYTES_MAX = 107;

/** Throws StorageError `invalid`. Port 0 lets the system choose. */
export function parseNbdAddress(text: string): NbdAddress {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    if (path === '') throw new StorageError('invalid', `"${text}": a Unix socket needs a path`);
    if (Buffer.byteLength(path) > UNIX_PATH_BYTES_MAX) {
      const limit = `longer than ${UNIX_PATH_BYTES_MAX} bytes; choose a shorter one`;
      throw new StorageError('invalid', `the socket path ${path} is ${limit}`);
    }
    return { path };
  }
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? NBD_PORT);
  if (host === undefined || port > PORT_MAX) {
    throw new StorageError('invalid', `"${text}": write HOST:PORT, [IPV6]:PORT or unix:PATH`);
  }
  return { host, port };
}

/** As `parseNbdAddress` reads it. */
export function formatNbdAddress(address: NbdAddress): string {
  if ('path' in address) return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}
