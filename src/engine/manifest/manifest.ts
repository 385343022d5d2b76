// The manifest: the durable root of a branch. Numbered and immutable; the highest number is the
// truth.
//
//   varint epoch │ varint logNumber │ varint logEpoch │ varint nextSegment │ varint runs × run
//   run = varint tables × descriptor
//   version 2 goes on:
//   u8 deleted │ varint restores
//   varint claims × varint number − previous │ varint fences × varint number − previous
//   varint ancestors × { text branch id │ varint nextSegment │ varint epoch }
//   varint snapshots × { text name │ varint manifest │ varint created, ms }
//   varint points    × { text name │ text branch id │ varint manifest │ varint created, ms }
//   version 3 goes on:
//   u8 journaled │ journaled ? { text journal id │ text host │ varint since, ms }
//
// sealed in an envelope (magic "VARVEMAN"). Replay begins at log object `logNumber`, written under
// the fence of epoch `logEpoch`, whose commit must be of segment `nextSegment`; everything before
// is in the runs, newest run first. A writer's first manifest, its *claim*, differs from its
// predecessor in a higher epoch and its own number among the claims. RFC 0003 says what the rest is
// for.

import { ByteReader, ByteWriter, compareBytes } from '../../base/bytes.ts';
import { decodeDescriptor, encodeDescriptor } from '../table/descriptor.ts';
import type { Run } from '../table/run.ts';

export const MANIFEST_MAGIC = 'VARVEMAN';
export const MANIFEST_VERSION = 3;
/** Versions that can be read. */
export const MANIFEST_VERSIONS = [1, 2, 3];

/** Whose objects a branch shares: see lineage.ts. */
export interface Ancestor {
  /** Branch id. */
  readonly branch: string;
  /** Segments below are this ancestor's, or one's before it. */
  readonly nextSegment: number;
  /** Ids of tables and data objects of this epoch or a lower one likewise. */
  readonly epoch: number;
}

/** A manifest of this branch that is kept, with all that it reaches. */
export interface SnapshotEntry {
  readonly name: string;
  /** Number of the manifest. */
  readonly manifest: number;
  readonly createdUnixMs: number;
}

/** A snapshot that the child `branch` stands on. */
export interface BranchPoint extends SnapshotEntry {
  /** The child's branch id; `name` is the child's name when it was created. */
  readonly branch: string;
}

/** The local journal that the branch's newest acknowledgements lie in (RFC 0004). */
export interface JournalName {
  readonly id: string;
  /** Where it lies, for people. */
  readonly host: string;
  readonly sinceUnixMs: number;
}

export interface Manifest {
  /** Of the newest writer. */
  readonly epoch: number;
  readonly logNumber: number;
  /** Of the last fence before `logNumber`. */
  readonly logEpoch: number;
  readonly nextSegment: number;
  /** Newest first. */
  readonly runs: readonly Run[];
  /** The last manifest of a branch that is no more. */
  readonly deleted: boolean;
  /** Goes up when the state is replaced by an older one: followers must not go on from theirs. */
  readonly restores: number;
  /** Numbers of manifests that are kept for the life of the branch, ascending. */
  readonly claims: readonly number[];
  /** Log numbers that are kept for the life of the branch, ascending. */
  readonly fences: readonly number[];
  /** From the oldest ancestor to the parent. */
  readonly lineage: readonly Ancestor[];
  readonly snapshots: readonly SnapshotEntry[];
  readonly points: readonly BranchPoint[];
  /** While the branch is written in the journal tier: nobody without it may write the branch. */
  readonly journal: JournalName | undefined;
}

export const FIRST_MANIFEST: Manifest = {
  epoch: 0,
  logNumber: 1,
  logEpoch: 0,
  nextSegment: 1,
  runs: [],
  deleted: false,
  restores: 0,
  claims: [],
  fences: [],
  lineage: [],
  snapshots: [],
  points: [],
  journal: undefined,
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
  out.u8(manifest.deleted ? 1 : 0);
  out.varint(manifest.restores);
  encodeAscending(out, manifest.claims);
  encodeAscending(out, manifest.fences);
  out.varint(manifest.lineage.length);
  for (const { branch, nextSegment, epoch } of manifest.lineage) {
    out.text(branch);
    out.varint(nextSegment);
    out.varint(epoch);
  }
  out.varint(manifest.snapshots.length);
  for (const { name, manifest: number, createdUnixMs } of manifest.snapshots) {
    out.text(name);
    out.varint(number);
    out.varint(createdUnixMs);
  }
  out.varint(manifest.points.length);
  for (const { name, branch, manifest: number, createdUnixMs } of manifest.points) {
    out.text(name);
    out.text(branch);
    out.varint(number);
    out.varint(createdUnixMs);
  }
  const { journal } = manifest;
  out.u8(journal === undefined ? 0 : 1);
  if (journal !== undefined) {
    out.text(journal.id);
    out.text(journal.host);
    out.varint(journal.sinceUnixMs);
  }
  return out.finish();
}

export function decodeManifest(bytes: Uint8Array, version: number, what: string): Manifest {
  const reader = new ByteReader(bytes, what);
  const epoch = reader.varint();
  const logNumber = reader.varint();
  const logEpoch = reader.varint();
  const nextSegment = reader.varint();
  const runs = list(reader, () => decodeRun(reader));
  const head = { ...FIRST_MANIFEST, epoch, logNumber, logEpoch, nextSegment, runs };
  if (version === 1) {
    reader.expectEnd();
    return head;
  }
  const manifest: Manifest = {
    ...head,
    deleted: reader.u8() !== 0,
    restores: reader.varint(),
    claims: decodeAscending(reader),
    fences: decodeAscending(reader),
    lineage: list(reader, () => ({
      branch: reader.text(),
      nextSegment: reader.varint(),
      epoch: reader.varint(),
    })),
    snapshots: list(reader, () => ({
      name: reader.text(),
      manifest: reader.varint(),
      createdUnixMs: reader.varint(),
    })),
    points: list(reader, () => ({
      name: reader.text(),
      branch: reader.text(),
      manifest: reader.varint(),
      createdUnixMs: reader.varint(),
    })),
    journal: version < 3 || reader.u8() === 0 ? undefined : decodeJournal(reader),
  };
  reader.expectEnd();
  return manifest;
}

function decodeJournal(reader: ByteReader): JournalName {
  return { id: reader.text(), host: reader.text(), sinceUnixMs: reader.varint() };
}

function decodeRun(reader: ByteReader): Run {
  const tables = list(reader, () => decodeDescriptor(reader));
  for (let t = 1; t < tables.length; t++) {
    const ascends = compareBytes(tables[t - 1]!.lastKey, tables[t]!.firstKey) < 0;
    if (!ascends) throw reader.corrupt('has a run whose tables overlap');
  }
  return { tables };
}

function list<T>(reader: ByteReader, decode: () => T): T[] {
  return Array.from({ length: reader.count() }, decode);
}

function encodeAscending(out: ByteWriter, numbers: readonly number[]): void {
  out.varint(numbers.length);
  let previous = 0;
  for (const number of numbers) {
    out.varint(number - previous);
    previous = number;
  }
}

function decodeAscending(reader: ByteReader): number[] {
  let previous = 0;
  return list(reader, () => {
    previous += reader.varint();
    if (previous > Number.MAX_SAFE_INTEGER) throw reader.corrupt('has a number past 2^53-1');
    return previous;
  });
}
