// The plaintext of manifests: the first byte of an input is the version.

import {
  decodeManifest,
  encodeManifest,
  FIRST_MANIFEST,
  MANIFEST_VERSION,
  type Manifest,
} from '../../src/engine/manifest/manifest.ts';
import { expect, roundTrip, type Target } from '../target.ts';
import { chunkKey, metaKey, segmentKey } from '../../src/engine/format/keys.ts';
import type { TableDescriptor } from '../../src/engine/table/descriptor.ts';

function descriptor(id: number, firstKey: Uint8Array, lastKey: Uint8Array): TableDescriptor {
  return { id, bytes: 70_000, tailBytes: 900, entries: 300, firstKey, lastKey };
}

const FULL: Manifest = {
  ...FIRST_MANIFEST,
  epoch: 3,
  logNumber: 300,
  logEpoch: 2,
  nextSegment: 77,
  runs: [
    { tables: [descriptor(2 ** 40 + 1, metaKey('volumes'), segmentKey(76))] },
    {
      tables: [
        descriptor(4, metaKey('a'), chunkKey(17, 5)),
        descriptor(5, chunkKey(17, 6), segmentKey(9)),
      ],
    },
  ],
  deleted: false,
  restores: 1,
  claims: [1, 44, 90],
  fences: [1, 200, 205],
  lineage: [{ branch: '0a0b0c0d0e0f', nextSegment: 50, epoch: 1 }],
  snapshots: [{ name: 'monday', manifest: 40, createdUnixMs: 1_790_000_000_000 }],
  points: [
    { name: 'test', branch: '1a1b1c1d1e1f', manifest: 41, createdUnixMs: 1_790_000_000_001 },
  ],
};

/** Version 1 ended behind the runs. */
function version1(): Uint8Array {
  const whole = encodeManifest({ ...FIRST_MANIFEST, runs: FULL.runs });
  const rest = encodeManifest(FIRST_MANIFEST).length - 5;
  return whole.slice(0, whole.length - rest);
}

/** Old versions are read as the newest one, so they must come back as that. */
function run(input: Uint8Array): void {
  const version = 1 + ((input[0] ?? 0) % MANIFEST_VERSION);
  let first = version;
  const decode = (bytes: Uint8Array): Manifest => {
    const manifest = decodeManifest(bytes, first, 'manifest');
    first = MANIFEST_VERSION;
    return manifest;
  };
  const manifest = roundTrip(input.subarray(1), decode, encodeManifest);
  for (const numbers of [manifest.claims, manifest.fences]) {
    expect(numbers.every(Number.isSafeInteger), 'numbers of objects are exact');
  }
}

export const targets: readonly Target[] = [
  {
    name: 'manifest',
    kinds: ['corrupt'],
    seeds: () => [
      Uint8Array.of(MANIFEST_VERSION - 1, ...encodeManifest(FIRST_MANIFEST)),
      Uint8Array.of(MANIFEST_VERSION - 1, ...encodeManifest(FULL)),
      Uint8Array.of(0, ...version1()),
    ],
    run,
  },
];
