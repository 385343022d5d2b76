// The lease of a reader: which manifest of a branch it reads, and with it all that this one
// reaches. Written anew under the next number to show that the reader lives.
//
//   varint manifest │ u8 log │ text what reads
//
// in an envelope (magic "VARVERDR", version 1) under `branches/<id>/readers/<reader>/<n>`.

import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { Rng } from '../../base/rng.ts';
import { openEnvelope, sealEnvelope } from '../../codec/envelope.ts';
import type { Keyring } from '../../codec/keyring.ts';

/**
 * A lease that a writer has seen unchanged for so long, by its own monotonic clock, is void.
 * Readers renew theirs several times in that span, and stop reading when they could not.
 */
export const LEASE_MS = 120_000;

const MAGIC = 'VARVERDR';
const VERSION = 1;

export interface Lease {
  /** Number of the manifest that is read. */
  readonly manifest: number;
  /** The log from that manifest on is read as well: not so for a snapshot. */
  readonly log: boolean;
  /** For people: what holds the lease. */
  readonly holder: string;
}

/** The object of a lease under `name`. */
export function sealLease(keyring: Keyring, rng: Rng, name: string, lease: Lease): Uint8Array {
  const identity = { magic: MAGIC, version: VERSION, name };
  return sealEnvelope(keyring, rng, identity, encodeLease(lease), 'none');
}

/** `corrupt` for anything but what `sealLease` made under that name. */
export function openLease(keyring: Keyring, name: string, object: Uint8Array): Lease {
  return decodeLease(
    openEnvelope(keyring, { magic: MAGIC, versions: [VERSION], name }, object),
    name,
  );
}

/** What the envelope of a lease holds. */
export function encodeLease(lease: Lease): Uint8Array {
  const out = new ByteWriter(64);
  out.varint(lease.manifest);
  out.u8(lease.log ? 1 : 0);
  out.text(lease.holder);
  return out.finish();
}

/** `corrupt` for what `encodeLease` does not make. */
export function decodeLease(plain: Uint8Array, name: string): Lease {
  const reader = new ByteReader(plain, name);
  const lease = { manifest: reader.varint(), log: reader.u8() !== 0, holder: reader.text() };
  reader.expectEnd();
  return lease;
}
