// What is tortured: a store, a network to it, varve, and PostgreSQL on a file system on it.
//
//   Ground   the S3 server and the proxy in front of it; lives as long as the run
//   World    one store in it with everything on top; made anew every few rounds

import { appendFile, chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Machine } from '../../examples/postgres/machine.ts';
import { systemClock, systemRng } from '../../src/base/system.ts';
import { createDirectoryStore } from '../../src/objectstore/directory.ts';
import type { ObjectStore } from '../../src/objectstore/object-store.ts';
import { createS3Store } from '../../src/objectstore/s3/s3-store.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type ServerOptions, startServer, type TestServer } from '../support/server.ts';
import { type Gateway, GATEWAY_ENV, gatewayClient, startGateway } from './gateway.ts';
import { Ledger } from './ledger.ts';
import type { Options } from './options.ts';
import { ORDER_VOLUME_SIZE, OrderedWriter } from './order.ts';
import { mountSmallState } from './small-state.ts';

const BUCKET = 'varve-torture';
const DISK_SIZE = '8G';
const CLIENTS = 8;

/** Past this varve gives a request up (`--write-timeout`), and the device has an I/O error. */
export const REQUEST_SECONDS_MAX = 120;

export interface Network {
  readonly gateway: Gateway;
  readonly proxy: FaultProxy;
}

export interface Ground {
  /** Ledgers, logs; what is kept when something fails. */
  readonly folder: string;
  readonly options: Options;
  readonly signal: AbortSignal;
  /** Absent for a directory store. */
  readonly network: Network | undefined;
}

export interface World {
  readonly ground: Ground;
  readonly server: TestServer;
  readonly machine: Machine;
  readonly ledger: Ledger;
  readonly ordered: OrderedWriter;
  /** A file to use for a moment. */
  readonly scratch: string;
  /** Everything above the store dies at once; what varve said is kept. */
  crash(): Promise<void>;
  /** The store as varve sees it, past the proxy. The caller closes it. */
  openStore(): Promise<ObjectStore>;
  /** Orderly; varve must exit with 0. */
  shutDown(): Promise<void>;
}

export async function startNetwork(
  folder: string,
  seed: number,
  open: AsyncDisposableStack,
): Promise<Network> {
  const gateway = await startGateway(join(folder, 'rgw'), BUCKET);
  open.defer(() => gateway.stop());
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: gateway.port, seed });
  open.defer(() => proxy.close());
  return { gateway, proxy };
}

/** Whatever it starts is ended by `open`. */
export async function createWorld(
  ground: Ground,
  generation: number,
  open: AsyncDisposableStack,
): Promise<World> {
  const { folder, options, signal, network } = ground;
  const server = await startServer(serverOptions(ground, generation));
  open.defer(() => server.remove());
  await chmod(server.dir, 0o755);
  if (options.tier === 'journal') await mountSmallState(server, open);
  const machine = new Machine({ server, signal });
  open.defer(() => machine.release());
  const ledger = new Ledger({
    file: join(folder, `ledger-${generation}.txt`),
    scale: options.scale,
    clients: CLIENTS,
    seed: options.seed + generation,
  });
  const ordered = new OrderedWriter(
    server.uriOf('order'),
    join(folder, `flushed-${generation}.txt`),
  );
  open.defer(() => ordered.stop());
  await machine.create();
  await Ledger.create(machine.postgres, options.scale);

  async function keepWhatItSaid(): Promise<void> {
    const { stderr } = await server.ended;
    await appendFile(join(folder, 'varve.log'), `${stderr}\n--- ended ---\n`);
  }
  const world: World = {
    ground,
    server,
    machine,
    ledger,
    ordered,
    scratch: join(server.dir, 'scratch'),
    async crash() {
      await server.kill9();
      await keepWhatItSaid();
      await machine.release();
    },
    openStore: () => openStore(network, server, generation),
    async shutDown() {
      await machine.shutDown();
      await keepWhatItSaid();
      if (network !== undefined) await emptyStore(world);
    },
  };
  return world;
}

function serverOptions({ options, network }: Ground, generation: number): ServerOptions {
  const common = {
    volumes: { disk: DISK_SIZE, order: ORDER_VOLUME_SIZE },
    flags: [
      '--durability',
      options.tier,
      '--log-format',
      'json',
      '--write-timeout',
      String(REQUEST_SECONDS_MAX),
    ],
    detached: true,
  };
  if (network === undefined) return common;
  return {
    ...common,
    store: `s3://${BUCKET}/${prefixOf(generation)}`,
    storeFlags: ['--s3-endpoint', network.proxy.endpoint],
    env: GATEWAY_ENV,
  };
}

function prefixOf(generation: number): string {
  return `store-${generation}`;
}

async function openStore(
  network: Network | undefined,
  server: TestServer,
  generation: number,
): Promise<ObjectStore> {
  if (network === undefined) return openDirectory(server.storeDir);
  const client = gatewayClient(network.gateway.port, BUCKET);
  return createS3Store({ ...client, prefix: prefixOf(generation) });
}

/** The gateway's objects lie in memory. */
async function emptyStore(world: World): Promise<void> {
  const store = await world.openStore();
  try {
    const options = { cause: 'admin' } as const;
    for await (const page of store.list('', options)) {
      for (const { key } of page) await store.delete(key, options);
    }
  } finally {
    await store.close();
  }
}

/** Copies every object into a directory store in `folder`, which varve can then serve. */
export async function copyStore(world: World, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  await using open = new AsyncDisposableStack();
  const from = await world.openStore();
  open.defer(() => from.close());
  const to = await openDirectory(folder);
  open.defer(() => to.close());
  const options = { cause: 'admin' } as const;
  for await (const page of from.list('', options)) {
    for (const { key } of page) {
      const { bytes } = await from.get(key, undefined, options);
      await to.putIfAbsent(key, [bytes], options);
    }
  }
}

function openDirectory(root: string): Promise<ObjectStore> {
  return createDirectoryStore({ rng: systemRng, clock: systemClock, root });
}
