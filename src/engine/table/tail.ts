// The end of a table object, decoded: what a lookup needs before it can name a block.
//
//   object = sealed block × n | sealed filter | sealed index | footer
//
// Filter and index are frames of kinds tableFilter and tableIndex, index 0. All sizes are checked
// against one another, so that a table is either consistent or `corrupt` when it is opened.

import { StorageError } from '../../base/errors.ts';
import { FrameKind, FRAME_PLAIN_BYTES_MAX, openFrame } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectSeal } from '../../codec/types.ts';
import { BlockIndex } from './block-index.ts';
import { Filter } from './bloom.ts';
import type { TableDescriptor } from './descriptor.ts';
import { decodeFooter, FOOTER_BYTES } from './footer.ts';

export interface TableTail {
  readonly seal: ObjectSeal;
  readonly filter: Filter;
  readonly index: BlockIndex;
  /** Memory it takes, for the cache's budget. */
  readonly byteLength: number;
}

/** `bytes` are exactly the last `table.tailBytes` of the object. Nothing of them is kept. */
export function decodeTail(
  bytes: Uint8Array,
  table: TableDescriptor,
  objectName: string,
  keyring: Keyring,
): TableTail {
  const corrupt = (why: string): StorageError =>
    new StorageError('corrupt', `table ${objectName} ${why}`);
  if (bytes.length !== table.tailBytes || bytes.length < FOOTER_BYTES) {
    throw corrupt('does not end as the manifest says');
  }
  const footerAt = bytes.length - FOOTER_BYTES;
  const { footer, seal } = decodeFooter(bytes.subarray(footerAt), objectName, keyring);
  if (footer.objectBytes !== table.bytes || footer.entries !== table.entries) {
    throw corrupt('is not the one that the manifest names');
  }
  const indexAt = footer.filterBytes;
  if (indexAt + footer.indexBytes !== footerAt) throw corrupt('has a footer with wrong sizes');
  const filterFrame = bytes.subarray(0, indexAt);
  const indexFrame = bytes.subarray(indexAt, footerAt);
  const filter = new Filter(
    plain(openFrame(seal, FrameKind.tableFilter, 0, filterFrame, FRAME_PLAIN_BYTES_MAX)),
    objectName,
  );
  const index = new BlockIndex(
    plain(openFrame(seal, FrameKind.tableIndex, 0, indexFrame, FRAME_PLAIN_BYTES_MAX)),
    objectName,
  );
  if (index.blockCount !== footer.blockCount || index.dataBytes !== table.bytes - bytes.length) {
    throw corrupt('has an index that does not fit its blocks');
  }
  return { seal, filter, index, byteLength: filter.bytes.length + index.byteLength };
}

/** A plain Uint8Array over the same memory: Buffers take slower paths in `subarray`. */
export function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
