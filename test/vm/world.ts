// A server on this machine and a guest whose kernel is its client.

import { z } from 'zod';
import { type Guest, type GuestImage, startGuest } from '../../scripts/vm/vm.ts';
import { collectReport, volumeUsageReport } from '../../src/server/http/report.ts';
import { freePort } from '../support/free-port.ts';
import { type ServerOptions, startServer, type TestServer } from '../support/server.ts';

/** Emulated, and on a busy machine. */
const GUEST_MS_MAX = 900_000;

/** What every script of a guest begins with. */
const PRELUDE = `
set -euo pipefail
say() { echo "== $*"; }
fail() { say "failed: $*"; exit 1; }
# What the host says, by a file in the share.
hear() { until [ -e "/share/$1" ]; do sleep 0.2; done; }
trap 'say "failed at line $LINENO: $BASH_COMMAND"; dmesg | tail -n 20' ERR
mkdir -p /mnt
modprobe nbd
`;

export interface World extends AsyncDisposable {
  readonly server: TestServer;
  readonly port: number;
  /** As `varve volume list` shows them. */
  usedBytes(volume: string): Promise<number>;
  /** Of the branch's objects in the store, behind a collection. */
  storedBytes(): Promise<number>;
  /** Boots; in the script $PORT is the server's. */
  boot(image: GuestImage, script: string): Promise<Guest>;
}

/** A server that the guest reaches at 10.0.2.2. */
export async function createWorld(options: ServerOptions = {}): Promise<World> {
  const port = await freePort();
  const server = await startServer({
    ...options,
    flags: ['--nbd', `127.0.0.1:${port}`, ...(options.flags ?? [])],
  });
  const guests: Guest[] = [];
  return {
    server,
    port,
    async usedBytes(volume) {
      const said = await server.command('volume', 'list', '--json');
      const volumes = z.array(volumeUsageReport).parse(JSON.parse(said));
      return volumes.find(({ name }) => name === volume)!.usedBytes;
    },
    async storedBytes() {
      const said = await server.command('gc', '--json');
      return collectReport.parse(JSON.parse(said)).storedBytes;
    },
    async boot(image, script) {
      const guest = await startGuest(image, `PORT=${port}\n${PRELUDE}${script}`, {
        timeoutMs: GUEST_MS_MAX,
        onLine: (line) => void process.stderr.write(`guest: ${line}\n`),
      });
      guests.push(guest);
      return guest;
    },
    async [Symbol.asyncDispose]() {
      for (const guest of guests) await guest[Symbol.asyncDispose]();
      await server.remove();
    },
  };
}
