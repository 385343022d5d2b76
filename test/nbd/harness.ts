// Serves memory volumes for a test, on a Unix socket and on TCP, and runs real clients against
// them.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import type { TlsCredentials } from '../../src/server/tls/credentials.ts';
import type { AccessTable } from '../../src/server/nbd/access.ts';
import type { TlsMode } from '../../src/server/nbd/address.ts';
import { NBD_SERVER_DEFAULTS, startNbdServer } from '../../src/server/nbd/server.ts';
import type { NbdServer, NbdServerSettings } from '../../src/server/nbd/server.ts';
import { createMemoryVolume, memoryDirectory } from '../support/memory-device.ts';
import type { MemoryVolume } from '../support/memory-device.ts';
import { RawClient } from './raw-client.ts';
import type { Negotiation } from './raw-client.ts';

const MIB = 1024 * 1024;

export interface Served {
  readonly server: NbdServer;
  /** The first volume. */
  readonly volume: MemoryVolume;
  readonly directory: string;
  readonly unix: { readonly path: string };
  readonly tcp: { readonly host: string; readonly port: number };
  /** URI of an export on the Unix socket. */
  uri(name?: string): string;
  /** A raw client, closed with the test. */
  connect(): Promise<RawClient>;
  /** A raw client in the transmission phase. */
  negotiated(how?: Negotiation): Promise<RawClient>;
}

/** TLS of both listeners. */
export interface ServedSecurity {
  readonly tls?: TlsCredentials | undefined;
  readonly access?: AccessTable | undefined;
  readonly mode?: TlsMode | undefined;
}

/** Serves `volumes` (by default one of 64 MiB, `disk`) until the test ends. */
export async function serveVolumes(
  t: TestContext,
  volumes: readonly MemoryVolume[] = [createMemoryVolume('disk', 64 * MIB)],
  settings: Partial<NbdServerSettings> = {},
  security: ServedSecurity = {},
): Promise<Served> {
  const directory = await mkdtemp(join(tmpdir(), 'nbd-test-'));
  const path = join(directory, 'nbd.sock');
  const server = await startNbdServer(
    {
      directory: memoryDirectory(volumes),
      clock: systemClock,
      log: silentLog,
      tls: security.tls,
    },
    {
      ...NBD_SERVER_DEFAULTS,
      access: security.access,
      addresses: [
        { path, tls: security.mode ?? 'off' },
        { host: '127.0.0.1', port: 0, tls: security.mode ?? 'off' },
      ],
      ...settings,
    },
  );
  const clients: RawClient[] = [];
  t.after(async () => {
    for (const client of clients) client.destroy();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  });
  const tcp = server.addresses[1]!;
  if ('path' in tcp) throw new Error('the second address is TCP');
  const served: Served = {
    server,
    volume: volumes[0]!,
    directory,
    unix: { path },
    tcp,
    uri: (name = 'disk') => `nbd+unix:///${name}?socket=${path}`,
    async connect() {
      const client = await RawClient.connect({ path });
      clients.push(client);
      return client;
    },
    async negotiated(how) {
      const client = await served.connect();
      await client.negotiate(how);
      return client;
    },
  };
  return served;
}

/** The Debian package of every client that the tests run. */
const PACKAGES: Readonly<Record<string, string>> = {
  nbdinfo: 'libnbd-bin',
  nbdcopy: 'libnbd-bin',
  nbdfuse: 'nbdfuse',
  '/usr/bin/python3': 'python3-libnbd',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  fio: 'fio',
};

/**
 * Runs a client to its end and returns what it printed. A missing one fails with its package's
 * name.
 */
export function run(command: string, args: readonly string[], cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: 64 * MIB, timeout: 60_000, ...(cwd === undefined ? {} : { cwd }) };
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const missing = error.code === 'ENOENT' || /No module named/.test(stderr);
      const hint = `install the package ${PACKAGES[command] ?? command}`;
      reject(new Error(missing ? `${command} is missing: ${hint}` : `${error.message}\n${stdout}`));
    });
  });
}

/** Runs a script with the connected libnbd handle `h`. */
export function nbdsh(uri: string, lines: readonly string[]): Promise<string> {
  const script = ['import nbd', 'h = nbd.NBD()', ...lines].join('\n');
  return run('/usr/bin/python3', ['-c', script.replaceAll('$URI', uri)]);
}
