// Planted bugs in what deletes, keeps and moves: collection, snapshots, branches, leases.

import type { Mutant } from './mutants.ts';

export const COLLECTION_MUTANTS: readonly Mutant[] = [
  {
    name: 'tables are deleted before the manifest that drops them',
    edits: [
      {
        file: 'src/engine/maintenance.ts',
        from: "      await publisher.publish(\n        'compaction',",
        to:
          '      trash.addTables(merged);\n      await publisher.publish(\n' +
          "        'compaction',",
      },
    ],
  },
  {
    name: 'log objects are deleted before the manifest that drops them',
    edits: [
      {
        file: 'src/engine/maintenance.ts',
        from: "      await publisher.publish(\n        'flush',",
        to: "      trash.addSegments(dropped);\n      await publisher.publish(\n        'flush',",
      },
    ],
  },
  {
    name: 'branch points keep nothing',
    edits: [
      {
        file: 'src/engine/gc/pins.ts',
        from: '    const wanted = Pins.numbersOf(this.#c.publisher.current.manifest);',
        to:
          '    const { snapshots } = this.#c.publisher.current.manifest;\n' +
          '    const wanted = new Set(snapshots.map((root) => root.manifest));',
      },
    ],
  },
  {
    name: 'snapshots keep nothing',
    edits: [
      {
        file: 'src/engine/gc/pins.ts',
        from: '    const wanted = Pins.numbersOf(this.#c.publisher.current.manifest);',
        to:
          '    const { points } = this.#c.publisher.current.manifest;\n' +
          '    const wanted = new Set(points.map((root) => root.manifest));',
      },
    ],
  },
  {
    name: 'leases keep nothing',
    edits: [
      {
        file: 'src/engine/gc/trash.ts',
        from: 'const isHeld = leased.some((root) => holds(root, item));',
        to: 'const isHeld = leased.length < 0;',
      },
    ],
  },
  {
    name: 'a lease is never lost',
    edits: [
      {
        file: 'src/engine/follow/lease.ts',
        from: 'return this.ageMs > LOST_MS;',
        to: 'return this.ageMs < 0;',
      },
    ],
  },
  {
    name: 'blocks are moved though they have changed',
    edits: [
      {
        file: 'src/engine/gc/relocation.ts',
        from: 'return now === UNKNOWN ? verified.get(one)! : now === one.pointer;',
        to: 'return now === UNKNOWN ? verified.get(one)! : true;',
      },
    ],
  },
  {
    name: 'readers of the process are not waited for',
    edits: [
      {
        file: 'src/engine/gc/trash.ts',
        from: '    await grace.quiesced();\n',
        to: '',
      },
    ],
  },
  {
    name: 'the sweep takes what is unfinished',
    edits: [
      {
        file: 'src/engine/gc/sweep.ts',
        from: 'new Set(tables.unfinished)',
        to: 'new Set<number>()',
      },
    ],
  },
  {
    name: 'the sweep takes fences',
    edits: [
      {
        file: 'src/engine/gc/sweep.ts',
        from: 'new Set(manifest.fences)',
        to: 'new Set<number>()',
      },
    ],
  },
  {
    name: 'claims are deleted',
    edits: [
      {
        file: 'src/engine/gc/sweep.ts',
        from: 'new Set([...manifest.claims, ...Pins.numbersOf(manifest)])',
        to: 'Pins.numbersOf(manifest)',
      },
      {
        file: 'src/engine/writer.ts',
        from: 'const kept = manifest.claims.includes(number) || ',
        to: 'const kept = ',
      },
    ],
  },
  {
    name: 'a claim need not be the highest',
    edits: [
      {
        file: 'src/engine/recovery.ts',
        from: "if ((await manifests.highest('open', own)) <= own) return",
        to: 'return',
      },
    ],
  },
  {
    name: 'a merge counts one pointer too many',
    edits: [
      {
        file: 'src/engine/live-counts.ts',
        from: 'withLiveCount(newest, live)',
        to: 'withLiveCount(newest, live + 1)',
      },
    ],
  },
  {
    name: "a child looks for its tables under its parent's name",
    edits: [
      {
        file: 'src/engine/branches.ts',
        from: '{ branch: lineage.own, nextSegment, epoch }',
        to: '{ branch: lineage.own, nextSegment, epoch: epoch + 1 }',
      },
    ],
  },
  {
    name: 'a restore uses segment numbers again',
    edits: [
      {
        file: 'src/engine/roots.ts',
        from: '        const { logNumber, nextSegment } = writer.log.position;',
        to:
          '        const { logNumber } = writer.log.position;\n' +
          '        const { nextSegment } = root;',
      },
    ],
  },
  {
    name: 'the sweep takes what is still to be replayed',
    edits: [
      {
        file: 'src/engine/gc/sweep.ts',
        from: 'if (id >= manifest.logNumber || fences.has(id)) return false;',
        to: 'if (fences.has(id)) return false;',
      },
    ],
  },
  {
    name: "a put that came too late counts as a branch's end",
    edits: [
      {
        file: 'src/engine/branch-removal.ts',
        from: "      await chain.publish(1, { ...FIRST_MANIFEST, deleted: true }, 'admin');",
        to:
          "      await chain.publish(1, { ...FIRST_MANIFEST, deleted: true }, 'admin');\n" +
          '      return true;',
      },
    ],
  },
  {
    name: 'a flush that began meanwhile is passed over',
    edits: [
      {
        file: 'src/engine/maintenance.ts',
        from: '    while (this.#flushing !== undefined) await this.#flushing;',
        to: '    await this.#flushing;',
      },
    ],
  },
  {
    name: 'what is kept is noted in another set',
    edits: [
      {
        file: 'src/engine/gc/pins.ts',
        from: '      kept.manifests.add(number);',
        to: '      this.#kept.manifests.add(number);',
      },
    ],
  },
  {
    name: 'a fence counts whoever has claimed since',
    edits: [
      {
        file: 'src/engine/recovery.ts',
        from: "    await throwIfDeposed(manifests, reign, 'open');\n    return recovered;",
        to: '    return recovered;',
      },
    ],
  },
  {
    name: 'what compresses well counts as small',
    edits: [
      {
        file: 'src/engine/gc/survey.ts',
        from: 'return table.blocks * BLOCK_BYTES < smallBytes;',
        to: 'return table.offsets.at(-1)! < smallBytes;',
      },
    ],
  },
];
