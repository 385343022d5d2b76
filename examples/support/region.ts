// A region: a bucket of its own behind a network of its own, a varve server on it, and the block
// device that a machine elsewhere has of it.
//
//   device ─ NBD ─ varve ─ proxy (latency, dark) ─ S3
//
// All regions share one gateway process, each with its own prefix. The latency lies between varve
// and its bucket, which is where a client far from it has it: varve runs beside the database.

import { type AttachOptions, attachVolume, type TestDevice } from '../../test/support/attach.ts';
import { runCommand } from '../../test/support/command.ts';
import { type FaultProxy, startFaultProxy } from '../../test/support/fault-proxy.ts';
import type { Gateway } from '../../test/support/gateway.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';

export interface RegionOptions {
  readonly name: string;
  readonly gateway: Gateway;
  /** Of each request to the bucket. */
  readonly latencyMs: number;
  readonly tier: 'store' | 'journal';
  readonly volumeSize: string;
  /** More flags of `varve serve`. */
  readonly flags?: readonly string[];
  /** The store is another server's: opening it fences that one. */
  readonly takesOver?: boolean;
}

export class Region {
  readonly name: string;
  readonly server: TestServer;
  /** Between the server and its bucket: `dark`, `light`, `set`. */
  readonly network: FaultProxy;
  #device: TestDevice | undefined;

  private constructor(name: string, server: TestServer, network: FaultProxy) {
    this.name = name;
    this.server = server;
    this.network = network;
  }

  /** Makes the store, or takes it over, and serves the volume `disk`. */
  static async start(options: RegionOptions): Promise<Region> {
    const { name, gateway, latencyMs, tier, volumeSize, flags = [], takesOver } = options;
    const { hostname, port } = new URL(gateway.endpoint);
    const network = await startFaultProxy({ host: hostname, port: Number(port) });
    try {
      network.set({ latencyMs });
      const { store, env } = gateway.serverOptions(name);
      const server = await startServer({
        ...(store === undefined ? {} : { store }),
        ...(env === undefined ? {} : { env }),
        storeFlags: ['--s3-endpoint', network.endpoint],
        volumes: { disk: volumeSize },
        ...(takesOver === true ? { init: false } : {}),
        flags: ['--durability', tier, '--cache-memory', '64M', ...flags],
        detached: true,
      });
      return new Region(name, server, network);
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  /**
   * The device's path. It must not be attached. Writes go past the page cache, where it has one:
   * ZFS has a cache of its own, and must hear of a write that fails, as it ignores such flushes.
   */
  async attach(
    options: Pick<AttachOptions, 'reconnect' | 'patienceSeconds'> = {},
  ): Promise<string> {
    const { uri, dir } = this.server;
    this.#device = await attachVolume({ uri, dir, ...options });
    const { path } = this.#device;
    if (path.startsWith('/dev/loop')) await runCommand('losetup', ['--direct-io=on', path]);
    return path;
  }

  get device(): string {
    if (this.#device === undefined) throw new Error(`${this.name} is not attached`);
    return this.#device.path;
  }

  /** Nobody may use the device; its server may be gone. Idempotent. */
  async detach(force = false): Promise<void> {
    await this.#device?.detach(force);
    this.#device = undefined;
  }

  /** Nobody may use the device. */
  async end(): Promise<void> {
    await using open = new AsyncDisposableStack();
    open.defer(() => this.network.close());
    open.defer(() => this.server.remove());
    await this.detach(true);
  }
}
