// What the old and the new process say to each other over the channel that Node opens between a
// process and its child: JSON, one message at a time, each answered or followed as drawn.
//
//   old                                   new
//    │ ── hello ──────────────────────────▶ │  settings, store, passphrase, key
//    │ ◀────────────────────── prepared ── │  says what it is going to serve: the same, or nothing
//    │   connections at rest, branch closed │
//    │ ── connection, with its socket ────▶ │  one for each
//    │ ── released ───────────────────────▶ │  opens the branch, goes on with the connections
//    │ ◀─────────────────────── serving ── │
//    │ exits                                │
//
// `failed` may come instead of `prepared` or `serving`; `stop` may come at any time after
// `released` and means that the new process shall stop once it serves. The two may be different
// versions: unknown fields are ignored, another HANDOVER_PROTOCOL is refused.

import { z } from 'zod';
import type { ConnectionState } from '../nbd/session.ts';

export const HANDOVER_PROTOCOL = 1;

/** Set for the new process: it is to take over from the process that started it. */
export const HANDOVER_VARIABLE = 'VARVE_HANDOVER';

const count = z.int().nonnegative();

const hello = z.object({
  type: z.literal('hello'),
  protocol: z.int(),
  /** Descriptors that the new process has inherited, by the address that was asked for. */
  listeners: z.array(z.object({ address: z.string(), fd: count })).readonly(),
  /** Only where it was typed: else the new process finds it where the old one did. */
  passphrase: z.string().or(z.undefined()).optional(),
});

const connection = z.object({
  type: z.literal('connection'),
  exportName: z.string(),
  sizeBytes: count,
  mode: z.enum(['simple', 'structured', 'extended']),
  allocationContext: z.boolean(),
  aligned: z.boolean(),
  /** Base64. */
  pending: z.base64(),
});

const released = z.object({
  type: z.literal('released'),
  connections: count,
  /** Of the writer that closed the branch: absent when it was served read-only. */
  epoch: count.or(z.undefined()).optional(),
});

const stop = z.object({ type: z.literal('stop') });

export const toSuccessor = z.discriminatedUnion('type', [hello, connection, released, stop]);

const prepared = z.object({
  type: z.literal('prepared'),
  version: z.string(),
  /** Store, branch and snapshot. */
  serves: z.string(),
});
const serving = z.object({ type: z.literal('serving') });
const failed = z.object({ type: z.literal('failed'), kind: z.string(), message: z.string() });

export const toPredecessor = z.discriminatedUnion('type', [prepared, serving, failed]);

export type Hello = z.output<typeof hello>;
export type ToSuccessor = z.output<typeof toSuccessor>;
export type ToPredecessor = z.output<typeof toPredecessor>;

export function encodeConnection(state: ConnectionState): z.output<typeof connection> {
  return { type: 'connection', ...state, pending: state.pending.toString('base64') };
}

export function decodeConnection({
  type: _type,
  pending,
  ...state
}: z.output<typeof connection>): ConnectionState {
  return { ...state, pending: Buffer.from(pending, 'base64') };
}
