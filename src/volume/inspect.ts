// The records of volumes (volumes.ts) as a tool reads them that has no open branch.

import { StorageError } from '../base/errors.ts';
import { decodeDirectory, decodeRecord, DIRECTORY_RECORD, recordName } from './records.ts';
import type { VolumeInfo } from './volumes.ts';

export interface InspectedVolume extends Pick<VolumeInfo, 'name' | 'sizeBytes'> {
  readonly inode: number;
}

/**
 * The volumes of which `meta` gives the records. `corrupt` when the directory names one without a
 * record, when two share an inode, or when an inode was never given out.
 */
export async function inspectVolumes(
  meta: (name: string) => Promise<Uint8Array | undefined>,
): Promise<readonly InspectedVolume[]> {
  const directory = await meta(DIRECTORY_RECORD);
  if (directory === undefined) return [];
  const { nextInode, names } = decodeDirectory(directory);
  const owners = new Map<number, string>();
  const volumes: InspectedVolume[] = [];
  for (const name of names) {
    const record = await meta(recordName(name));
    if (record === undefined) throw new StorageError('corrupt', `volume "${name}" has no record`);
    const { inode, sizeBytes } = decodeRecord(name, record);
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
