// `varve attach VOLUME`, `varve attach --list`, `varve detach VOLUME|DEVICE`: a volume as a block
// device of this machine. stdout is the device's path, for scripts: mkfs.ext4 $(varve attach pg).

import { existsSync } from 'node:fs';
import { type AttachRequest, type Reconnect, RECONNECTS, WAYS } from '../attach/attacher.ts';
import { type Attachment, type Attachments, createAttachments } from '../attach/attachments.ts';
import { requireRoot } from '../attach/host.ts';
import { type AttachmentRecord, recordsDirOf } from '../attach/records.ts';
import { systemHost } from '../attach/system-host.ts';
import { type NbdUpstream, parseUpstream, upstreamOfFaces } from '../attach/upstream.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import { systemClock } from '../base/system.ts';
import type { CommandContext } from './command-context.ts';
import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { lockStateDir, type StateLock } from './state-dir.ts';
import { formatTable } from './text-table.ts';
import { whileWaiting } from './while-waiting.ts';

/** Longer than another attach takes, unless its server hangs. */
const LOCK_MS_MAX = 40_000;
const LOCK_ASK_EVERY_MS = 100;
/** A server that starts again has to find its place in the bucket, which may answer slowly. */
const PATIENCE_SECONDS = '120';

export interface AttachOptions {
  readonly volume: string | undefined;
  readonly list: boolean;
  /** Undefined: the one that runs in the state directory. */
  readonly server: string | undefined;
  readonly how: string | undefined;
  readonly readOnly: boolean;
  readonly reconnect: string | undefined;
  readonly patience: string | undefined;
  readonly json: boolean;
}

export async function runAttach(
  settings: Settings,
  context: CommandContext,
  options: AttachOptions,
): Promise<void> {
  const { volume, json } = options;
  if (options.list)
    return context.print(listText((await attachmentsOf(settings)?.list()) ?? [], json));
  if (volume === undefined) {
    throw new StorageError('invalid', 'attach what? Name a volume, or say --list');
  }
  const how = oneOf('how', ['auto', ...WAYS], options.how ?? 'auto');
  const reconnect = oneOf('reconnect', RECONNECTS, options.reconnect ?? 'clean');
  const upstream =
    options.server === undefined
      ? await runningUpstream(settings, volume)
      : parseUpstream(options.server);
  const { readOnly } = options;
  const patienceSeconds = secondsOf(options.patience ?? PATIENCE_SECONDS);
  const request: AttachRequest = { volume, upstream, readOnly, reconnect, patienceSeconds };
  const attaching = locked(settings, (attachments) => attachments.attach(request, how));
  const record = await whileWaiting(`attaching ${volume}`, attaching);
  context.print(json ? `${JSON.stringify(reportOf(record))}\n` : `${record.device}\n`);
}

export async function runDetach(
  settings: Settings,
  context: CommandContext,
  name: string,
  force: boolean,
): Promise<void> {
  const exists = existsSync(dirOf(settings));
  const detaching = exists
    ? locked(settings, (attachments) => attachments.detach(name, force))
    : Promise.resolve(undefined);
  const record = await whileWaiting(`detaching ${name}`, detaching);
  if (record === undefined) context.printError(`varve: ${name} is not attached\n`);
  else if (record.stale) context.printError(`varve: ${name} had lost its server\n`);
}

function dirOf({ stateDir }: Settings): string {
  // Another user cannot even see whether there is one.
  requireRoot(systemHost);
  return recordsDirOf(stateDir);
}

/** Undefined when nothing was ever attached: looking makes no folder. */
function attachmentsOf(settings: Settings): Attachments | undefined {
  const dir = dirOf(settings);
  if (!existsSync(dir)) return undefined;
  return createAttachments({ host: systemHost, clock: systemClock, dir });
}

async function locked<T>(settings: Settings, work: (of: Attachments) => Promise<T>): Promise<T> {
  const lock = await takeLock(dirOf(settings));
  try {
    return await work(attachmentsOf(settings)!);
  } finally {
    lock.release();
  }
}

async function takeLock(dir: string): Promise<StateLock> {
  const deadline = systemClock.monotonicMs() + LOCK_MS_MAX;
  for (;;) {
    try {
      return await lockStateDir(dir, async () => false);
    } catch (error) {
      // Another attach or detach holds it, or takes it over from one that was killed.
      const passes = isStorageError(error, 'exists') || isStorageError(error, 'unavailable');
      if (!passes || systemClock.monotonicMs() > deadline) throw error;
      await systemClock.sleep(LOCK_ASK_EVERY_MS);
    }
  }
}

async function runningUpstream(settings: Settings, volume: string): Promise<NbdUpstream> {
  const { faces, volumes } = await runningServer(settings).status();
  if (!volumes.some(({ name }) => name === volume)) {
    const what = `no volume "${volume}": varve volume list shows those that are there`;
    throw new StorageError('notFound', what);
  }
  return upstreamOfFaces(faces);
}

function secondsOf(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new StorageError('invalid', `--patience: "${text}" is no whole number of seconds above 0`);
}

function oneOf<T extends string>(flag: string, values: readonly T[], text: string): T {
  const value = values.find((one) => one === text);
  if (value !== undefined) return value;
  throw new StorageError('invalid', `--${flag}: "${text}" must be one of ${values.join(', ')}`);
}

/** What scripts get; what else a record holds is ours. */
function reportOf(record: AttachmentRecord): Readonly<Record<string, unknown>> {
  const { volume, device, how, server, pid, readOnly, reconnect } = record;
  return { volume, device, how, server, pid, readOnly, reconnect };
}

function listText(attachments: readonly Attachment[], json: boolean): string {
  if (json) {
    const rows = attachments.map((one) => ({ ...reportOf(one), stale: one.stale }));
    return `${JSON.stringify(rows, null, 2)}\n`;
  }
  if (attachments.length === 0) return 'nothing is attached: varve attach VOLUME does\n';
  const rows = attachments.map((one) => [
    one.volume,
    one.device,
    one.how,
    one.stale ? 'lost its server: detach it' : modeOf(one),
    one.server,
  ]);
  return formatTable([['VOLUME', 'DEVICE', 'HOW', 'STATE', 'SERVER'], ...rows], []);
}

const RECONNECTS_TEXT: Readonly<Record<Reconnect, string>> = {
  never: '',
  clean: ', reconnects',
  always: ', reconnects, every write durable',
};

function modeOf({ readOnly, reconnect }: Attachment): string {
  return `${readOnly ? 'read-only' : 'read-write'}${RECONNECTS_TEXT[reconnect]}`;
}
