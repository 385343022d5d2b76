// Finds, from a listing, what no root names: remains of crashes, of deposed writers, and of deletes
// that were cut short. What it finds goes to the trash, which looks at the roots beside the head.
//
// The order matters: objects are listed first, and what the head names is taken after that, in one
// turn. So an object that was made in between is either not listed, or named, or unfinished.

import type { ObjectStore } from '../../objectstore/object-store.ts';
import type { Log } from '../../base/log.ts';
import { dataPrefix, logPrefix, manifestPrefix, numberOf, tablePrefix } from '../format/names.ts';
import { IDS_PER_EPOCH, type Lineage } from '../manifest/lineage.ts';
import type { Publisher } from '../manifest/publisher.ts';
import type { Tables } from '../tables.ts';
import type { Tree } from '../tree.ts';
import type { CollectProgress } from './collector.ts';
import type { Grace } from './grace.ts';
import { Pins } from './pins.ts';
import { addReach, createReach } from './reach.ts';
import type { Trash, TrashItem } from './trash.ts';

export interface SweepComponents {
  readonly store: ObjectStore;
  readonly lineage: Lineage;
  readonly tree: Tree;
  readonly tables: Tables;
  readonly publisher: Publisher;
  readonly pins: Pins;
  readonly trash: Trash;
  readonly grace: Grace;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface SweepReport {
  /** Of all objects that were listed, before anything was deleted. */
  readonly listedBytes: number;
  readonly listedObjects: number;
  /** The same less what was found to be garbage. */
  readonly storedBytes: number;
  readonly garbageObjects: number;
}

type Kind = TrashItem['kind'];

/** Lists the branch, hands garbage to the trash. Resolves before that is deleted. */
export async function sweep(
  components: SweepComponents,
  onProgress: CollectProgress,
): Promise<SweepReport> {
  const { lineage, tree, tables, publisher, pins, trash, grace, signal } = components;
  const kinds: Readonly<Record<Kind, string>> = {
    manifest: manifestPrefix(lineage.own),
    log: logPrefix(lineage.own),
    data: dataPrefix(lineage.own),
    table: tablePrefix(lineage.own),
  };
  const listed: TrashItem[] = [];
  for (const [kind, prefix] of Object.entries(kinds) as [Kind, string][]) {
    await list(components, kind, prefix, listed, onProgress);
  }
  const generation = grace.enter();
  try {
    // One turn: the manifest, the runs that it names, and what will become of those later.
    const { manifest, number: current } = publisher.current;
    const { runs } = tree;
    const unfinished = new Set(tables.unfinished);
    const fresh = new Set<number>();
    for (const memtable of [tree.active, tree.frozen]) {
      for (const table of memtable?.segments.values() ?? []) fresh.add(table.dataId);
    }
    const keptManifests = new Set([...manifest.claims, ...Pins.numbersOf(manifest)]);
    const fences = new Set(manifest.fences);
    const reach = createReach();
    await addReach(reach, runs, lineage, signal);
    const kept = await pins.kept();
    const isGarbage = ({ kind, id }: TrashItem): boolean => {
      switch (kind) {
        case 'manifest':
          return id < current && !keptManifests.has(id);
        case 'log':
          if (id >= manifest.logNumber || fences.has(id)) return false;
          return !reach.logs.has(id) && !kept.logs.has(id);
        case 'data':
          if (isNewer(id, manifest.epoch) || unfinished.has(id) || fresh.has(id)) return false;
          return !reach.data.has(id) && !kept.data.has(id);
        case 'table':
          if (isNewer(id, manifest.epoch) || unfinished.has(id)) return false;
          return !reach.tables.has(id) && !kept.tables.has(id);
      }
    };
    const garbage = listed.filter(isGarbage);
    const listedBytes = sum(listed);
    const storedBytes = listedBytes - sum(garbage);
    trash.add(garbage);
    return {
      listedBytes,
      listedObjects: listed.length,
      storedBytes,
      garbageObjects: garbage.length,
    };
  } finally {
    grace.leave(generation);
  }
}

async function list(
  { store, signal }: SweepComponents,
  kind: Kind,
  prefix: string,
  into: TrashItem[],
  onProgress: CollectProgress,
): Promise<void> {
  for await (const page of store.list(prefix, { cause: 'collection', signal })) {
    for (const { key, bytes } of page) {
      const id = numberOf(key);
      // What is not of our making is left alone.
      if (id !== undefined) into.push({ kind, id, bytes });
    }
    onProgress('listing', into.length, 0);
  }
}

/** Made by a writer that has deposed us: none of our business. */
function isNewer(id: number, epoch: number): boolean {
  return Math.floor(id / IDS_PER_EPOCH) > epoch;
}

function sum(items: readonly TrashItem[]): number {
  return items.reduce((total, { bytes }) => total + bytes, 0);
}
