// What the server proves itself with, and what it knows its clients by: read once at start.
//
// Which client is let in:
//   client-ca, psk-file   a certificate that the CA signed, or a key of the file
//   client-ca             a certificate
//   psk-file              a key; the server's certificate is then shown by the HTTP face alone
//   neither               anybody: the wire is sealed, and the client knows whom it talks to
//
// - TLS 1.2 is the least; in it, pre-shared keys go with an ephemeral key exchange only.
// - No session is resumed: each connection proves its identity anew.

import { constants } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, DEFAULT_CIPHERS, type TLSSocket, type TlsOptions } from 'node:tls';
import { messageOf, StorageError } from '../../base/errors.ts';
import { parsePskFile } from './psk-file.ts';

export interface TlsFiles {
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly clientCa: string | undefined;
  readonly pskFile: string | undefined;
}

export interface TlsCredentials {
  readonly certificate: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly clientCa: Buffer | undefined;
  readonly keys: ReadonlyMap<string, Buffer> | undefined;
}

/**
 * In TLS 1.3 OpenSSL takes a key for one of SHA-256 and ignores it once another hash is chosen, so
 * the suites with SHA-256 come first.
 */
const PSK_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES256-GCM-SHA384',
  'DHE-PSK-AES128-GCM-SHA256',
  'DHE-PSK-CHACHA20-POLY1305',
];

/** True when some file is named, so that clients can be offered TLS. */
export function hasTls({ cert, pskFile }: TlsFiles): boolean {
  return cert !== undefined || pskFile !== undefined;
}

/** Throws `invalid` for names that do not go together. */
export function checkTlsFiles({ cert, key, clientCa }: TlsFiles): void {
  if ((cert === undefined) !== (key === undefined)) {
    throw new StorageError('invalid', 'tls.cert and tls.key go together: give both or neither');
  }
  if (clientCa !== undefined && cert === undefined) {
    const why = 'clients show certificates only to a server that has one';
    throw new StorageError('invalid', `tls.client-ca needs tls.cert and tls.key: ${why}`);
  }
}

/**
 * Reads the files. Throws `invalid`, with the file's name and never its text; `warn` hears of keys
 * that others can read.
 */
export async function loadTlsCredentials(
  files: TlsFiles,
  warn: (file: string) => void,
): Promise<TlsCredentials | undefined> {
  checkTlsFiles(files);
  const { cert, key, clientCa, pskFile } = files;
  if (!hasTls(files)) return undefined;
  const credentials: TlsCredentials = {
    certificate:
      cert === undefined || key === undefined
        ? undefined
        : { cert: await read(cert), key: await readSecret(key, warn) },
    clientCa: clientCa === undefined ? undefined : await read(clientCa),
    keys:
      pskFile === undefined
        ? undefined
        : parsePskFile(pskFile, (await readSecret(pskFile, warn)).toString('utf8')),
  };
  // OpenSSL looks at the files now, so that a wrong one is known before anything listens.
  try {
    createSecureContext({ ...credentials.certificate });
  } catch (cause) {
    const why = `${cert} and ${key} are no certificate and its key (PEM): ${messageOf(cause)}`;
    throw new StorageError('invalid', why, { cause });
  }
  try {
    createSecureContext({ ca: credentials.clientCa });
  } catch (cause) {
    const why = `${clientCa} is no certificate of a CA (PEM): ${messageOf(cause)}`;
    throw new StorageError('invalid', why, { cause });
  }
  return credentials;
}

/** True when no client gets in without proving who it is. */
export function knowsClients({ clientCa, keys }: TlsCredentials): boolean {
  return clientCa !== undefined || keys !== undefined;
}

/**
 * Options of a TLS server for block devices. `onKey` hears whose key was looked up: that the client
 * has it too is known when the handshake is over and `keyWasUsed`.
 */
export function deviceTlsOptions(
  { certificate, clientCa, keys }: TlsCredentials,
  onKey: (identity: string) => void,
): TlsOptions {
  const certificates = clientCa !== undefined || keys === undefined;
  return {
    ...COMMON,
    ...(certificates ? certificate : {}),
    ...(clientCa === undefined
      ? {}
      : // Node would take a client that has a key but no certificate for nobody: with both kinds
        // the caller looks itself.
        { ca: clientCa, requestCert: true, rejectUnauthorized: keys === undefined }),
    ...(keys === undefined
      ? {}
      : {
          ciphers: [...new Set([...PSK_CIPHERS, ...DEFAULT_CIPHERS.split(':')])].join(':'),
          honorCipherOrder: true,
          dhparam: 'auto',
          pskCallback(_socket, identity) {
            const key = keys.get(identity);
            if (key === undefined) return null;
            onKey(identity);
            return key;
          },
        }),
  };
}

/**
 * True when the handshake proved that the client has the key that was looked up. A client may name
 * an identity and then go on with certificates, as if it had not.
 */
export function keyWasUsed(secure: TLSSocket): boolean {
  // In TLS 1.3 a key is a session that is resumed, and we resume no others.
  if (secure.getProtocol() === 'TLSv1.3') return secure.isSessionReused();
  return secure.getCipher().name.includes('PSK');
}

/** Options of an HTTPS server. Undefined without a certificate. */
export function httpTlsOptions({ certificate }: TlsCredentials): TlsOptions | undefined {
  return certificate === undefined ? undefined : { ...COMMON, ...certificate };
}

const COMMON: TlsOptions = {
  minVersion: 'TLSv1.2',
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
};

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new StorageError('invalid', `TLS: ${messageOf(cause)}`, { cause });
  }
}

async function readSecret(path: string, warn: (file: string) => void): Promise<Buffer> {
  const bytes = await read(path);
  if (((await stat(path)).mode & 0o077) !== 0) warn(path);
  return bytes;
}
