// What every way of making a block device of a volume has in common. attachments.ts chooses one of
// them and keeps the books; a way knows programs and the kernel, and no files of ours.

import type { NbdUpstream } from './upstream.ts';

export const WAYS = ['kernel', 'nbdfuse'] as const;
export type Way = (typeof WAYS)[number];

/**
 * What becomes of the device when its server ends. `never`: it fails. `clean`: it waits for the
 * next server, and fails when the last one may have lost what it answered (RFC 0005). `always`: it
 * waits, and every write is durable before it is answered.
 */
export const RECONNECTS = ['never', 'clean', 'always'] as const;
export type Reconnect = (typeof RECONNECTS)[number];

export interface AttachRequest {
  readonly volume: string;
  readonly upstream: NbdUpstream;
  readonly readOnly: boolean;
  readonly reconnect: Reconnect;
  /** How long a request waits for a server to connect to again before it is an I/O error. */
  readonly patienceSeconds: number;
}

/** A request, and the export that answers to it. */
export interface AttachTask extends AttachRequest {
  /** Of `clean`, it carries the server's write verifier. */
  readonly exportName: string;
}

/** What an attachment may make; all of it is named after the volume. */
export interface AttachPlace {
  readonly folder: string;
  readonly log: string;
  readonly socket: string;
  readonly pidFile: string;
}

export interface AttachedDevice {
  /** `/dev/nbd0`, `/dev/loop3`. */
  readonly device: string;
  /** Says, beside `bootId`, that the device is still this attachment and no later one. */
  readonly session: string;
  /** Of the process that serves the device; absent where the kernel alone does. */
  readonly pid?: number | undefined;
}

/** What is known of an attachment that may have been left behind. */
export interface Trace {
  readonly place: AttachPlace;
  /** Absent when nobody lived to write it down, or the machine has been booted since. */
  readonly attached?: AttachedDevice | undefined;
}

export interface Attacher {
  readonly way: Way;
  /** Why this host, or this request, cannot be served in this way; undefined when it can. */
  probe(request: AttachRequest): Promise<string | undefined>;
  /** Leaves nothing behind when it throws. Nothing of an earlier attachment may be there. */
  attach(task: AttachTask, place: AttachPlace): Promise<AttachedDevice>;
  /** The device is there, and its server answers; or may do so again, unless it is `never`. */
  serves(attached: AttachedDevice, place: AttachPlace, reconnect: Reconnect): Promise<boolean>;
  /** Devices that are still there, served or not. */
  survivors(trace: Trace): readonly string[];
  /**
   * Nobody will answer for the device any more: requests that wait for a server fail, and so does
   * every later one. Idempotent.
   */
  fail(trace: Trace): Promise<void>;
  /** Takes away whatever is still there. Nobody may use the device. Idempotent. */
  detach(trace: Trace): Promise<void>;
}
