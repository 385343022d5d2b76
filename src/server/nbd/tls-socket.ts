// STARTTLS on an accepted socket (proto.md, "TLS support").
//
//   clear:  options ── STARTTLS ──▶ ACK, the last bytes in clear
//           stop reading; wait until the kernel has the ACK; hand the socket to OpenSSL
//   sealed: the client is known ──▶ the handshake begins anew, over the TLS socket
//
// - Whatever the client sent in clear behind STARTTLS is never taken for part of the sealed
//   conversation (CVE-2021-3716): what is here already ends the connection (connection.ts), what
//   still comes is read by OpenSSL, which refuses it.
// - The deadline of the handshake goes on: it bounds this, too.

import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { BlockDeviceDirectory } from '../../volume/block-device.ts';
import { deviceTlsOptions, keyWasUsed, knowsClients } from '../tls/credentials.ts';
import type { TlsCredentials } from '../tls/credentials.ts';
import { type AccessTable, directoryFor } from './access.ts';

/** What a connection may do about TLS. */
export interface ConnectionSecurity {
  /** `offered`: the client may choose. */
  readonly mode: 'required' | 'offered';
  /**
   * The reply to STARTTLS was handed to the wire: makes the wire a sealed one. `onSecure` is called
   * with what the client may see; it is not when TLS fails, and the socket is then destroyed.
   */
  start(onSecure: (directory: BlockDeviceDirectory) => void): void;
}

export interface TlsSocketDeps {
  readonly credentials: TlsCredentials;
  readonly access: AccessTable | undefined;
  readonly directory: BlockDeviceDirectory;
  readonly log: Log;
  readonly socket: Socket;
  /** Stops what the socket feeds. */
  readonly detach: () => void;
  /** From now on the wire is `secure`. */
  readonly replace: (secure: TLSSocket) => void;
}

export function startTls(
  deps: TlsSocketDeps,
  onSecure: (directory: BlockDeviceDirectory) => void,
): void {
  const { socket, log } = deps;
  socket.pause();
  deps.detach();
  // Called behind every write before it, so that no clear byte is left in our queue.
  socket.write('', (error) => {
    if (!error && !socket.destroyed) upgrade();
  });

  function upgrade(): void {
    const { credentials } = deps;
    const named = new Set<string>();
    const options = deviceTlsOptions(credentials, (identity) => void named.add(identity));
    // A server that never listens: it gives the connection the whole of Node's server-side checks.
    const server = createServer(options, (secure) => {
      const byKey = keyWasUsed(secure);
      if (knowsClients(credentials) && !byKey && !secure.authorized) {
        log.warn('nbd.tls.failed', { message: 'the client has no certificate of the CA, no key' });
        secure.destroy();
        return;
      }
      const identity = byKey ? only(named) : certificateName(secure);
      deps.replace(secure);
      const cipher = secure.getCipher().name;
      log.info('nbd.connection.secured', { identity, protocol: secure.getProtocol(), cipher });
      onSecure(directoryFor(deps.directory, deps.access, identity));
    });
    server.on('tlsClientError', (error) => {
      log.warn('nbd.tls.failed', { message: messageOf(error) });
      socket.destroy();
    });
    server.emit('connection', socket);
  }
}

/** Whoever named several is nobody: which of their keys was used is not known. */
function only(named: ReadonlySet<string>): string | undefined {
  const [first] = named;
  return named.size === 1 ? first : undefined;
}

/** The one common name of a certificate that was checked. */
function certificateName(secure: TLSSocket): string | undefined {
  if (!secure.authorized) return undefined;
  // A subject with several names has an array here: it is nobody.
  const name: unknown = secure.getPeerCertificate().subject?.CN;
  return typeof name === 'string' ? name : undefined;
}
