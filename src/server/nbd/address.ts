// Where the server listens: `HOST:PORT`, `[IPV6]:PORT`, `HOST` (the default port), or `unix:PATH`;
// behind each, `?tls=required`, `?tls=offered` or `?tls=off`.

import { isIP } from 'node:net';
import { StorageError } from '../../base/errors.ts';
import { NBD_PORT } from '../../proto/nbd/constants.ts';

export const TLS_MODES = ['required', 'offered', 'off'] as const;
export type TlsMode = (typeof TLS_MODES)[number];

export type NbdAddress = (
  | { readonly host: string; readonly port: number }
  | { readonly path: string }
) & {
  /** Absent: `defaultTlsMode`. */
  readonly tls?: TlsMode;
};

const PORT_MAX = 65_535;
/** sun_path of unix(7) holds 108 bytes with its terminator. */
const UNIX_PATH_BYTES_MAX = 107;

/** Throws StorageError `invalid`. Port 0 lets the system choose. */
export function parseNbdAddress(text: string): NbdAddress {
  const { place, tls } = splitTls(text);
  if (place.startsWith('unix:')) {
    const path = place.slice('unix:'.length);
    if (path === '') throw new StorageError('invalid', `"${text}": a Unix socket needs a path`);
    if (Buffer.byteLength(path) > UNIX_PATH_BYTES_MAX) {
      const limit = `longer than ${UNIX_PATH_BYTES_MAX} bytes; choose a shorter one`;
      throw new StorageError('invalid', `the socket path ${path} is ${limit}`);
    }
    return { path, ...tls };
  }
  const hostPort = parseHostPort(place, NBD_PORT);
  // A host of that name, written with its port, would be read as a path.
  if (hostPort === undefined || hostPort.host === 'unix') {
    throw new StorageError('invalid', `"${text}": write HOST:PORT, [IPV6]:PORT or unix:PATH`);
  }
  return { ...hostPort, ...tls };
}

function splitTls(text: string): { place: string; tls: { readonly tls?: TlsMode } } {
  const cut = text.lastIndexOf('?tls=');
  if (cut < 0) return { place: text, tls: {} };
  const word = text.slice(cut + '?tls='.length);
  const tls = TLS_MODES.find((one) => one === word);
  if (tls === undefined) {
    const why = `tls is ${TLS_MODES.join(', ')}, not "${word}"`;
    throw new StorageError('invalid', `"${text}": ${why}`);
  }
  return { place: text.slice(0, cut), tls: { tls } };
}

/** Undefined when it is none. */
export function parseHostPort(
  text: string,
  defaultPort: number | undefined,
): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]?/]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port === undefined || port > PORT_MAX) return undefined;
  return { host, port };
}

/** As `parseNbdAddress` reads it. */
export function formatNbdAddress(address: NbdAddress): string {
  const tls = address.tls === undefined ? '' : `?tls=${address.tls}`;
  if ('path' in address) return `unix:${address.path}${tls}`;
  return `${formatHostPort(address)}${tls}`;
}

export function formatHostPort({ host, port }: { host: string; port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** True when only this machine can reach it: loopback, or a Unix socket. */
export function isLocal(address: NbdAddress): boolean {
  return 'path' in address || isLoopback(address.host);
}

/** Names but `localhost` are not resolved, and so are not loopback. */
export function isLoopback(host: string): boolean {
  const bare = host.toLowerCase().replace(/^::ffff:/, '');
  if (isIP(bare) === 4) return bare.startsWith('127.');
  return bare === 'localhost' || bare === '::1';
}

/** What an address without `?tls=` means. */
export function tlsModeOf(address: NbdAddress, tlsConfigured: boolean): TlsMode {
  if (address.tls !== undefined) return address.tls;
  if (!tlsConfigured) return 'off';
  return isLocal(address) ? 'offered' : 'required';
}

/**
 * Throws `invalid` for TLS that is not configured, and for a listener that lets other machines in
 * without it, unless that is what was asked for.
 */
export function checkNbdAddress(
  address: NbdAddress,
  options: { readonly tlsConfigured: boolean; readonly insecure: boolean },
): void {
  const where = formatNbdAddress(address);
  const mode = tlsModeOf(address, options.tlsConfigured);
  if (mode !== 'off' && !options.tlsConfigured) {
    const what = 'there is no certificate and no key: give tls.cert and tls.key, or tls.psk-file';
    throw new StorageError('invalid', `nbd ${where}: ${what}`);
  }
  if (mode === 'required' || isLocal(address) || options.insecure) return;
  const what = 'other machines could read and write the volumes, and see their bytes in clear';
  const how = 'require TLS (tls.cert and tls.key, or tls.psk-file), or say --insecure';
  throw new StorageError('invalid', `nbd ${where}: ${what}: listen on 127.0.0.1, ${how}`);
}
