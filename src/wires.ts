// The part of the composition root that makes wires out of settings: credentials, the HTTP face,
// and how each listener is called.

import { resolve } from 'node:path';
import type { Log } from './base/log.ts';
import type { Settings } from './cli/settings.ts';
import { httpTls } from './cli/secure-settings.ts';
import { readToken } from './server/http/guard.ts';
import { type HttpFace, startHttpFace } from './server/http/listener.ts';
import type { AdminService } from './server/http/routes.ts';
import {
  formatHostPort,
  formatNbdAddress,
  isLocal,
  type NbdAddress,
  tlsModeOf,
} from './server/nbd/address.ts';
import type { NbdCounters } from './server/nbd/counters.ts';
import {
  httpTlsOptions,
  knowsClients,
  loadTlsCredentials,
  type TlsCredentials,
} from './server/tls/credentials.ts';

export interface Wires {
  readonly tls: TlsCredentials | undefined;
  /** Of the HTTP face. */
  readonly token: string | undefined;
}

/** Reads the files. Throws `invalid`; what is only unwise is logged. */
export async function loadWires(settings: Settings, log: Log): Promise<Wires> {
  const warn = (file: string): void => {
    log.warn('secret.readable', { file, hint: `others can read it: chmod 600 ${file}` });
  };
  const tls = await loadTlsCredentials(settings.tls, warn);
  const { tokenFile } = settings.http;
  const token = tokenFile === undefined ? undefined : await readToken(tokenFile, warn);
  const open = settings.nbd.filter((address) => !isLocal(address));
  if (open.length > 0 && (tls === undefined || !knowsClients(tls))) {
    const addresses = open.map(formatNbdAddress);
    const hint = 'whoever reaches them may open the volumes: give tls.client-ca or tls.psk-file';
    log.warn('nbd.clients.unknown', { addresses, hint });
  }
  return { tls, token };
}

/** Undefined when there is to be none. */
export async function startHttp(
  settings: Settings,
  { tls, token }: Wires,
  deps: { readonly service: AdminService; readonly log: Log },
): Promise<HttpFace | undefined> {
  const { listen } = settings.http;
  if (listen === undefined) return undefined;
  const options = tls !== undefined && httpTls(settings) ? httpTlsOptions(tls) : undefined;
  return startHttpFace({ ...deps, tls: options }, { ...listen, token });
}

/** The NBD URI format, which libnbd and qemu read; good in any working directory. */
export function nbdUri(address: NbdAddress, tlsConfigured: boolean): string {
  const scheme = tlsModeOf(address, tlsConfigured) === 'required' ? 'nbds' : 'nbd';
  if ('path' in address) return `${scheme}+unix:///?socket=${encodeURI(resolve(address.path))}`;
  return `${scheme}://${formatHostPort(address)}`;
}

/** What the status report says of the NBD face. */
export function nbdReport(server: {
  readonly counters: Readonly<NbdCounters>;
  connectionCount(): number;
}): NbdCounters & { readonly open: number } {
  return { ...server.counters, open: server.connectionCount() };
}
