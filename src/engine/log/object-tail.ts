// Reading the end of a log or data object: the footer and the sealed record, never the data.

import { StorageError } from '../../base/errors.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore, RequestCause } from '../../objectstore/object-store.ts';
import { FOOTER_BYTES, type Footer, openRecord, readFooter } from '../format/log-object.ts';
import { decodeRecord } from '../format/records.ts';

/** Fetched blind: enough for the record of most objects. */
const SUFFIX_BYTES = 32 * 1024;

export interface ObjectTail {
  readonly record: ReturnType<typeof decodeRecord>;
  readonly footer: Footer;
  /** Of the whole object. */
  readonly objectBytes: number;
  /** Of the frames before the record. */
  readonly dataBytes: number;
}

/** `notFound`; `corrupt` for anything but what was written under `name`. */
export async function openTail(
  { store, keyring }: { readonly store: ObjectStore; readonly keyring: Keyring },
  name: string,
  cause: RequestCause,
): Promise<ObjectTail> {
  const suffix = await store.get(name, { suffix: SUFFIX_BYTES }, { cause });
  const { objectBytes } = suffix;
  let { bytes } = suffix;
  const { footer, seal } = readFooter(bytes, objectBytes, name, keyring);
  const tailBytes = footer.recordBytes + FOOTER_BYTES;
  if (tailBytes > objectBytes) {
    throw new StorageError('corrupt', `${name} has an impossible record`);
  }
  if (tailBytes > bytes.length) {
    ({ bytes } = await store.get(name, { suffix: tailBytes }, { cause }));
  }
  const at = bytes.length - tailBytes;
  const record = decodeRecord(openRecord(seal, bytes.subarray(at, at + footer.recordBytes)), name);
  return { record, footer, objectBytes, dataBytes: objectBytes - tailBytes };
}
