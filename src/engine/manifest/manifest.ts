// The manifest: the durable root of a branch. Numbered and immutable; the highest number is the
// truth.
//
//   varint epoch │ varint logNumber │ varint logEpoch │ varint nextSegment │ varint runs × run
//   run = varint tables × descriptor
//
// sealed in an envelope (magic "VARVEMAN"). Replay begins at log object `logNumber`, written under
// the fence of epoch `logEpoch`, whose commit must be of segment `nextSegment`; everything before
// is in the runs, newest run first. A writer's first manifest differs from its predecessor in
// nothing but a higher epoch.

import { ByteReader, ByteWriter, compareBytes } from '../../base/bytes.ts';
import { decodeDescriptor, encodeDescriptor } from '../table/descriptor.ts';
import type { Run } from '../table/run.ts';

export const MANIFEST_MAGIC = 'VARVEMAN';
export const MANIFEST_VERSION = 1;

export interface Manifest {
  /** Of the newest writer. */
  readonly epoch: number;
  readonly logNumber: number;
  /** Of the last fence before `logNumber`. */
  readonly logEpoch: number;
  readonly nextSegment: number;
  /** Newest first. */
  readonly runs: readonly Run[];
}

export const FIRST_MANIFEST: Manifest = {
  epoch: 0,
  logNumber: 1,
  logEpoch: 0,
  nextSegment: 1,
  runs: [],
};

export function encodeManifest(manifest: Manifest): Uint8Array {
  const out = new ByteWriter();
  out.varint(manifest.epoch);
  out.varint(manifest.logNumber);
  out.varint(manifest.logEpoch);
  out.varint(manifest.nextSegment);
  out.varint(manifest.runs.length);
  for (const run of manifest.runs) {
    out.varint(run.tables.length);
    for (const table of run.tables) encodeDescriptor(out, table);
  }
  return out.finish();
}

export function decodeManifest(bytes: Uint8Array, what: string): Manifest {
  const reader = new ByteReader(bytes, what);
  const epoch = reader.varint();
  const logNumber = reader.varint();
  const logEpoch = reader.varint();
  const nextSegment = reader.varint();
  const runs: Run[] = [];
  const runCount = reader.count();
  for (let r = 0; r < runCount; r++) {
    const count = reader.count();
    const tables = Array.from({ length: count }, () => decodeDescriptor(reader));
    for (let t = 1; t < count; t++) {
      const ascends = compareBytes(tables[t - 1]!.lastKey, tables[t]!.firstKey) < 0;
      if (!ascends) throw reader.corrupt('has a run whose tables overlap');
    }
    runs.push({ tables });
  }
  reader.expectEnd();
  return { epoch, logNumber, logEpoch, nextSegment, runs };
}
