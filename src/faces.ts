// The part of the composition root that makes faces out of settings: what others speak to, and the
// wires that they use.
//
//   credentials ─ read first, so that a wrong file is a complaint before a store is opened
//   volumes ──────────────── NBD listeners
//   database, store ─ service ─┬─ admin.sock
//                              └─ HTTP, if asked for

import { resolve } from 'node:path';
import type { Clock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import type { Settings } from './cli/settings.ts';
import { httpTls } from './cli/secure-settings.ts';
import type { Database } from './engine/db.ts';
import { type OpenedStore, outageOf } from './opened-store.ts';
import type { UpgradeReport } from './server/handover/predecessor.ts';
import type { Legacy } from './server/handover/successor.ts';
import { createAdminServer } from './server/http/admin.ts';
import { readToken } from './server/http/guard.ts';
import { type HttpFace, startHttpFace } from './server/http/listener.ts';
import type { StatusReport } from './server/http/report.ts';
import type { AdminService } from './server/http/routes.ts';
import { createAdminService, type DatabaseSource } from './server/http/service.ts';
import {
  formatHostPort,
  formatNbdAddress,
  isLocal,
  type NbdAddress,
  tlsModeOf,
} from './server/nbd/address.ts';
import { NBD_SERVER_DEFAULTS, type NbdServer, startNbdServer } from './server/nbd/server.ts';
import { withWriteVerifier } from './server/nbd/verified-exports.ts';
import {
  httpTlsOptions,
  knowsClients,
  loadTlsCredentials,
  type TlsCredentials,
} from './server/tls/credentials.ts';
import { refuseWritesBehindFailedFlush } from './volume/failed-flush.ts';
import type { Volumes } from './volume/volumes.ts';

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

export interface Face {
  readonly kind: string;
  readonly uri: string;
}

export interface FaceComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  readonly wires: Wires;
  readonly opened: OpenedStore;
  readonly database: Database;
  /** RFC 0005. */
  readonly writeVerifier: string;
  readonly volumes: Volumes;
  readonly adminSocket: string;
  /** Replaces this process; asked for over the admin socket. */
  readonly upgrade?: ((onProgress: (what: string) => void) => Promise<UpgradeReport>) | undefined;
  /** What a predecessor left. */
  readonly legacy: Legacy | undefined;
  /** Waits for the end of a face that may be answering the request for an upgrade. */
  readonly untilClosed: (closed: Promise<void>) => Promise<void>;
}

/** Resolves when all of them listen; `open` closes them. */
export async function openFaces(
  settings: Settings,
  components: FaceComponents,
  open: AsyncDisposableStack,
): Promise<{ readonly faces: readonly Face[]; readonly nbd: NbdServer }> {
  const { clock, log, wires, opened, database, volumes, untilClosed } = components;
  const devices = refuseWritesBehindFailedFlush(volumes, { clock, log, database });
  const directory = withWriteVerifier(devices, components.writeVerifier, log);
  const faces: Face[] = [];
  const listening: { nbd?: NbdServer } = {};
  const service = createAdminService({
    nbd: () => (listening.nbd === undefined ? undefined : nbdReport(listening.nbd)),
    database: databaseSource(database),
    outage: () => outageOf(opened.store, clock),
    volumes,
    meter: opened.meter,
    log,
    faces,
    snapshot: settings.snapshot,
    version: components.version,
    upgrade: components.upgrade,
  });
  const admin = await createAdminServer({ service, log }, components.adminSocket);
  open.defer(() => untilClosed(admin.close()));
  const nbd = await startNbdServer(
    { directory, clock, log, tls: wires.tls },
    {
      addresses: settings.nbd,
      access: settings.tls.exports,
      ...NBD_SERVER_DEFAULTS,
      inheritance: components.legacy,
    },
  );
  open.defer(() => nbd.stop());
  listening.nbd = nbd;
  for (const address of nbd.addresses) {
    faces.push({ kind: 'nbd', uri: nbdUri(address, wires.tls !== undefined) });
  }
  const http = await startHttp(settings, wires, { service, log });
  open.defer(() => (http === undefined ? undefined : untilClosed(http.close())));
  if (http !== undefined) faces.push({ kind: 'http', uri: http.uri });
  return { faces, nbd };
}

/** Undefined when there is to be none. */
async function startHttp(
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
function nbdUri(address: NbdAddress, tlsConfigured: boolean): string {
  const scheme = tlsModeOf(address, tlsConfigured) === 'required' ? 'nbds' : 'nbd';
  if ('path' in address) return `${scheme}+unix:///?socket=${encodeURI(resolve(address.path))}`;
  return `${scheme}://${formatHostPort(address)}`;
}

/** What the status report says of the NBD face. */
function nbdReport(
  server: Pick<NbdServer, 'counters' | 'connectionCount' | 'memory'>,
): StatusReport['nbd'] {
  const { bytes: sharedBytes, evictions: dropped } = server.memory;
  return { ...server.counters, open: server.connectionCount(), sharedBytes, dropped };
}

function databaseSource(database: Database): DatabaseSource {
  return {
    barrier: () => database.storeBarrier(),
    get roots() {
      return database.roots;
    },
    collect: (onProgress) => database.collect(onProgress),
    status() {
      const status = database.status();
      const { memory, disk } = status.cache;
      const none = { budgetBytes: 0, bytes: 0 };
      const diskCache = disk === undefined ? none : { ...disk, failed: disk.failed ? 1 : 0 };
      return { ...status, cache: { memory: { ...memory }, disk: diskCache } };
    },
  };
}
