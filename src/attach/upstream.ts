// The NBD server behind a device: where it listens, and the URI by which libnbd's programs find one
// export of it.

import { resolve } from 'node:path';
import { z } from 'zod';
import { StorageError } from '../base/errors.ts';
import { NBD_PORT } from '../proto/nbd/constants.ts';
import type { Host } from './host.ts';

export type NbdUpstream = { readonly socket: string } | { readonly host: string; port: number };

/**
 * Reads `nbd+unix:///…?socket=PATH` or `nbd://HOST:PORT/…`; what names an export is left out: the
 * volume does. Throws `invalid`.
 */
export function parseUpstream(text: string): NbdUpstream {
  const match = /^(nbds?)(\+unix)?:\/\/([^/?]*)(?:\/[^?]*)?(\?.*)?$/.exec(text);
  if (match === null) {
    const forms = 'nbd+unix:///?socket=PATH or nbd://HOST:PORT';
    throw new StorageError('invalid', `--server: "${text}" is no NBD address: write ${forms}`);
  }
  const [, scheme, unix, authority = '', query = ''] = match;
  if (scheme === 'nbds') throw tlsError(text);
  if (unix === undefined) return parseAuthority(text, authority);
  const socket = /[?&]socket=([^&]+)/.exec(query)?.[1];
  if (socket === undefined) {
    throw new StorageError('invalid', `--server: "${text}" names no socket: add ?socket=PATH`);
  }
  return { socket: resolve(decode(text, socket)) };
}

function parseAuthority(text: string, authority: string): NbdUpstream {
  const match = /^(?:\[([^\]]+)\]|([^:[\]@]+))(?::(\d{1,5}))?$/.exec(authority);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) {
    throw new StorageError('invalid', `--server: "${text}" names no host: write nbd://HOST:PORT`);
  }
  return { host, port: match?.[3] === undefined ? NBD_PORT : Number(match[3]) };
}

/** URIs are written with escapes; one that is cut short is the caller's mistake. */
function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw new StorageError('invalid', `--server: "${text}" has a broken escape`, { cause });
  }
}

/**
 * Of the faces that a server's status names, the one to attach to: a Unix socket before TCP. Throws
 * `invalid` when there is none, or all want TLS.
 */
export function upstreamOfFaces(
  faces: readonly { readonly kind: string; readonly uri: string }[],
): NbdUpstream {
  const uris = faces.filter(({ kind }) => kind === 'nbd').map(({ uri }) => uri);
  const plain = (scheme: string): string | undefined => uris.find((uri) => uri.startsWith(scheme));
  const uri = plain('nbd+unix:') ?? plain('nbd:');
  if (uri !== undefined) return parseUpstream(uri);
  if (uris[0] !== undefined) throw tlsError(uris[0]);
  const what = 'the server has no NBD address: start it with --nbd unix:PATH';
  throw new StorageError('invalid', what);
}

function tlsError(uri: string): StorageError {
  const what = `${uri} takes TLS, which attach does not speak`;
  return new StorageError('invalid', `${what}: give the server a Unix socket, --nbd unix:PATH`);
}

/**
 * The export of a volume by a name that carries the server's write verifier (RFC 0005). Throws
 * `unavailable` with what nbdinfo said.
 */
export async function verifiedName(
  host: Host,
  upstream: NbdUpstream,
  volume: string,
): Promise<string> {
  const said = await host.run('nbdinfo', ['--json', exportUri(upstream, `${volume}/`)]);
  const { exports } = nbdinfoReport.parse(JSON.parse(said));
  return exports[0]['export-name'];
}

/** What nbdinfo(1) tells of one export: its canonical name. */
const nbdinfoReport = z.object({ exports: z.tuple([z.object({ 'export-name': z.string() })]) });

/** The NBD URI format. */
export function exportUri(upstream: NbdUpstream, exportName: string): string {
  const path = encodeURIComponent(exportName);
  if ('socket' in upstream) {
    const socket = encodeURIComponent(upstream.socket).replaceAll('%2F', '/');
    return `nbd+unix:///${path}?socket=${socket}`;
  }
  const host = upstream.host.includes(':') ? `[${upstream.host}]` : upstream.host;
  return `nbd://${host}:${upstream.port}/${path}`;
}
