// The records of volumes (volumes.ts) as a tool reads them that has no open branch.

import { ByteReader } from '../base/bytes.ts';
import { StorageError } from '../base/errors.ts';
import type { VolumeInfo } from './volumes.ts';

export interface InspectedVolume extends Pick<VolumeInfo, 'name' | 'sizeBytes'> {
  readonly inode: number;
}

const VERSION = 1;

/**
 * The volumes of which `meta` gives the records. `corrupt` when the directory names one without a
 * record, when two share an inode, or when an inode was never given out.
 */
export async function inspectVolumes(
  meta: (name: string) => Promise<Uint8Array | undefined>,
): Promise<readonly InspectedVolume[]> {
  const directory = await meta('volumes');
  if (directory === undefined) return [];
  const reader = versioned(directory, 'the directory of volumes');
  const nextInode = reader.varint();
  const names = Array.from({ length: reader.count() }, () => reader.text());
  reader.expectEnd();
  const owners = new Map<number, string>();
  const volumes: InspectedVolume[] = [];
  for (const name of names) {
    const record = await meta(`volume/${name}`);
    if (record === undefined) throw new StorageError('corrupt', `volume "${name}" has no record`);
    const fields = versioned(record, `volume "${name}"`);
    const inode = fields.varint();
    const sizeBytes = fields.varint();
    fields.expectEnd();
    const other = owners.get(inode);
    if (other !== undefined) {
      throw new StorageError('corrupt', `volumes "${other}" and "${name}" are the same file`);
    }
    if (inode >= nextInode) {
      throw new StorageError('corrupt', `volume "${name}" has an inode that is still to be given`);
    }
    owners.set(inode, name);
    volumes.push({ name, inode, sizeBytes });
  }
  return volumes;
}

function versioned(bytes: Uint8Array, what: string): ByteReader {
  const reader = new ByteReader(bytes, what);
  if (reader.u8() !== VERSION) throw reader.corrupt('has an unknown version');
  return reader;
}
