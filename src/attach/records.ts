// What is attached, for the commands that come later: one file per volume,
// /run/varve-attach/STATE/NAME.json, where STATE is the path of the server's state directory.
//
// A file is written whole under another name, made durable and renamed, mode 0600. What it says is
// no proof: a process may have ended since, and a boot ends everything. Who reads it asks the
// kernel.

import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { StorageError } from '../base/errors.ts';
import { type AttachPlace, RECONNECTS, WAYS } from './attacher.ts';

const recordShape = z.object({
  version: z.literal(1),
  volume: z.string(),
  device: z.string(),
  how: z.enum(WAYS),
  /** The URI of the volume. */
  server: z.string(),
  exportName: z.string(),
  readOnly: z.boolean(),
  reconnect: z.enum(RECONNECTS),
  pid: z.number().int().positive().optional(),
  session: z.string(),
  bootId: z.string(),
});

export type AttachmentRecord = Readonly<z.output<typeof recordShape>>;

export interface AttachmentRecords {
  /** Undefined when there is none. Throws `corrupt`. */
  read(volume: string): AttachmentRecord | undefined;
  list(): readonly AttachmentRecord[];
  write(record: AttachmentRecord): Promise<void>;
  /** Idempotent. */
  remove(volume: string): void;
  placeOf(volume: string): AttachPlace;
}

const ENDING = '.json';

const ROOT_FOLDER = '/run/varve-attach';

/**
 * Where the records of one server's volumes are. Not in its state directory: a server may run as a
 * user of its own, who could put anything there, and root would follow it. The folder ends with a
 * boot, as what is attached does.
 */
export function recordsDirOf(stateDir: string): string {
  const path = resolve(stateDir);
  return join(ROOT_FOLDER, encodeURIComponent(existsSync(path) ? realpathSync(path) : path));
}

/** Makes `dir`. */
export function openRecords(dir: string): AttachmentRecords {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  // The kernel names mounts and files by their real paths.
  const root = realpathSync(dir);
  // A volume may be called "..": no name of a file of ours is only that.
  const at = (volume: string, ending: string): string =>
    join(root, `${encodeURIComponent(volume)}${ending}`);

  function read(volume: string): AttachmentRecord | undefined {
    const path = at(volume, ENDING);
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return parse(path, text);
  }

  return {
    read,
    list: () =>
      readdirSync(root)
        .filter((name) => name.endsWith(ENDING))
        .toSorted()
        .flatMap((name) => read(decodeURIComponent(name.slice(0, -ENDING.length))) ?? []),
    async write(record) {
      const path = at(record.volume, ENDING);
      const draft = `${path}.new`;
      {
        await using file = await open(draft, 'w', 0o600);
        await file.writeFile(`${JSON.stringify(record)}\n`);
        await file.sync();
      }
      await rename(draft, path);
    },
    remove(volume) {
      for (const ending of [ENDING, '.log']) rmSync(at(volume, ending), { force: true });
    },
    placeOf: (volume) => ({
      folder: at(volume, '.fuse'),
      log: at(volume, '.log'),
      socket: at(volume, '.sock'),
      pidFile: at(volume, '.pid'),
    }),
  };
}

function parse(path: string, text: string): AttachmentRecord {
  try {
    return recordShape.parse(JSON.parse(text));
  } catch (cause) {
    const what = `${path} is no record of an attachment: detach its device by hand, then remove it`;
    throw new StorageError('corrupt', what, { cause });
  }
}
