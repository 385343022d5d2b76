// The door of this folder: volumes become block devices of this machine, and stop being ones.
//
//   attach: what a record names and the kernel confirms is given back as it is; whatever else is
//           left of the volume is taken away, unless somebody uses it; then a way is chosen
//   detach: refused while somebody uses the device; then synced, taken away, forgotten
//
// One process at a time: the caller holds a lock on the folder of the records.

import type { Clock } from '../base/clock.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import type { AttachedDevice, Attacher, AttachRequest, Trace, Way } from './attacher.ts';
import { type Host, missingPrograms, requireRoot } from './host.ts';
import { createKernelAttacher } from './kernel.ts';
import { createNbdfuseAttacher } from './nbdfuse.ts';
import { type AttachmentRecord, openRecords } from './records.ts';
import { exportUri, parseUpstream, verifiedName } from './upstream.ts';
import { refuseInUse, useOf } from './usage.ts';

export interface AttachmentsDeps {
  readonly host: Host;
  readonly clock: Clock;
  /** The folder of the records; it is made. */
  readonly dir: string;
}

export interface Attachment extends AttachmentRecord {
  /** Its server or its process is gone, or the machine was booted since. */
  readonly stale: boolean;
}

export interface Attachments {
  /** Idempotent: what is attached in the same way is returned as it is. */
  attach(request: AttachRequest, how: Way | 'auto'): Promise<AttachmentRecord>;
  /**
   * By volume or by device; undefined when it is not attached. With `force` what was written and
   * not flushed is lost, and requests that wait for a server fail, also where the device is in use.
   */
  detach(name: string, force?: boolean): Promise<Attachment | undefined>;
  list(): Promise<readonly Attachment[]>;
}

/** Programs that look at a new device, such as udev's, let go of it soon. */
const LOOKERS_MS_MAX = 2_000;
const ASK_EVERY_MS = 50;

export function createAttachments({ host, clock, dir }: AttachmentsDeps): Attachments {
  const records = openRecords(dir);
  const attachers: Readonly<Record<Way, Attacher>> = {
    kernel: createKernelAttacher(host, clock),
    nbdfuse: createNbdfuseAttacher(host, clock),
  };

  function traceOf(volume: string, record: AttachmentRecord | undefined): Trace {
    const known = record?.bootId === host.bootId ? deviceOf(record) : undefined;
    return { place: records.placeOf(volume), attached: known };
  }

  async function isServed(record: AttachmentRecord): Promise<boolean> {
    const { place, attached } = traceOf(record.volume, record);
    if (attached === undefined) return false;
    if (!(await attachers[record.how].serves(attached, place, record.reconnect))) return false;
    return record.reconnect !== 'clean' || (await isWelcome(record));
  }

  /** False when the server that answers now refuses this client. Nobody may answer for a while. */
  async function isWelcome({ server, volume, exportName }: AttachmentRecord): Promise<boolean> {
    const named = await verifiedName(host, parseUpstream(server), volume).catch(() => exportName);
    return named === exportName;
  }

  /** Takes away all that is left of a volume. Throws, and takes nothing, while it is in use. */
  async function release(
    volume: string,
    record: AttachmentRecord | undefined,
    served: boolean,
  ): Promise<void> {
    const trace = traceOf(volume, record);
    const ways = Object.values(attachers);
    // What still waits for a server would hold up who wants to let go of the device.
    if (!served) for (const way of ways) await way.fail(trace);
    const devices = ways.flatMap((way) => way.survivors(trace));
    for (const device of devices) await refuseUse(device, volume);
    // A device whose server is gone takes nothing any more: that was told to who wrote to it.
    if (served && record?.readOnly === false) await sync(record);
    for (const way of ways) await way.detach(trace);
    records.remove(volume);
  }

  async function refuseUse(device: string, volume: string): Promise<void> {
    const deadline = clock.monotonicMs() + LOOKERS_MS_MAX;
    while (useOf(host, device)?.startsWith('open in') === true && clock.monotonicMs() < deadline) {
      await clock.sleep(ASK_EVERY_MS);
    }
    refuseInUse(host, device, volume);
  }

  async function sync({ device, volume }: AttachmentRecord): Promise<void> {
    try {
      await host.sync(device);
    } catch (cause) {
      const lost = 'what was written cannot be flushed (--force loses it)';
      const what = `${device}, the volume ${volume}, stays: ${lost}`;
      throw new StorageError('unavailable', `${what}: ${messageOf(cause)}`, { cause });
    }
  }

  async function exportFor({ volume, upstream, reconnect }: AttachRequest): Promise<string> {
    return reconnect === 'clean' ? verifiedName(host, upstream, volume) : volume;
  }

  async function choose(request: AttachRequest, how: Way | 'auto'): Promise<Attacher> {
    const missing = request.reconnect === 'clean' && missingPrograms(host, ['nbdinfo']);
    if (typeof missing === 'string') throw cannotError(request, [missing]);
    const candidates = how === 'auto' ? Object.values(attachers) : [attachers[how]];
    const reasons: string[] = [];
    for (const one of candidates) {
      const reason = await one.probe(request);
      if (reason === undefined) return one;
      reasons.push(`${one.way}: ${reason}`);
    }
    throw cannotError(request, reasons);
  }

  return {
    async attach(request, how) {
      requireRoot(host);
      const { volume, upstream, readOnly, reconnect } = request;
      const server = exportUri(upstream, volume);
      const before = records.read(volume);
      if (before !== undefined && (await isServed(before))) {
        refuseOther(before, { server, readOnly, reconnect });
        return before;
      }
      const attacher = await choose(request, how);
      const exportName = await exportFor(request);
      await release(volume, before, false);
      const place = records.placeOf(volume);
      let attached: AttachedDevice | undefined;
      try {
        attached = await attacher.attach({ ...request, exportName }, place);
        const how = attacher.way;
        const facts = { volume, how, server, exportName, readOnly, reconnect } as const;
        const { bootId } = host;
        const record: AttachmentRecord = { version: 1, ...facts, ...attached, bootId };
        await records.write(record);
        return record;
      } catch (error) {
        if (attached !== undefined) {
          await attacher.fail({ place, attached });
          await attacher.detach({ place, attached });
        }
        records.remove(volume);
        throw error;
      }
    },
    async detach(name, force = false) {
      requireRoot(host);
      const record = records.read(name) ?? records.list().find(({ device }) => device === name);
      const served = !force && record !== undefined && (await isServed(record));
      // Without a record there may still be what an attach that was killed has left.
      if (record !== undefined || !name.startsWith('/dev/')) {
        await release(record?.volume ?? name, record, served);
      }
      return record === undefined ? undefined : { ...record, stale: !served };
    },
    list() {
      const asked = records.list().map(async (record): Promise<Attachment> => {
        return { ...record, stale: !(await isServed(record)) };
      });
      return Promise.all(asked);
    },
  };
}

function cannotError({ volume }: AttachRequest, reasons: readonly string[]): StorageError {
  const what = `${volume} cannot be attached: ${reasons.join('; ')}`;
  return new StorageError('unavailable', what, { retryable: false });
}

function deviceOf({ device, session, pid }: AttachmentRecord): AttachedDevice {
  return { device, session, pid };
}

/** Throws `exists`: what is attached is not what is asked for. */
function refuseOther(
  record: AttachmentRecord,
  asked: Pick<AttachmentRecord, 'server' | 'readOnly' | 'reconnect'>,
): void {
  const differs = (['server', 'readOnly', 'reconnect'] as const).filter(
    (key) => record[key] !== asked[key],
  );
  if (differs.length === 0) return;
  const facts = differs.map((key) => `${key} ${String(record[key])}`).join(', ');
  const what = `${record.volume} is attached at ${record.device} with ${facts}`;
  throw new StorageError('exists', `${what}: detach it first`);
}
