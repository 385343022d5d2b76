// `npm start`: a store in ./varve-data, one 10 GiB volume and NBD on this machine, with nothing to
// set up. Flags of `varve serve` may follow (`npm start -- --nbd 127.0.0.1:10810`); they win over
// what it chooses.
//
// The passphrase is made at the first start and kept in the state directory, beside the store and
// never in it: a copy of the store alone opens nothing.

import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isStorageError } from '../base/errors.ts';
import { systemRng } from '../base/system.ts';
import type { NbdAddress } from '../server/nbd/address.ts';
import type { Daemon } from '../daemon.ts';
import { createStore } from '../offline.ts';
import { realComponents } from './components.ts';
import { errorText, exitCodeOf } from './exit-codes.ts';
import type { CommandContext } from './command-context.ts';
import { parseServeFlags } from './program.ts';
import { readyLine, runDaemon } from './serve.ts';
import type { Settings, VolumeSetting } from './settings.ts';
import { formatSize } from './size.ts';
import { formatTable } from './text-table.ts';

const STORE_DIR = './varve-data';
const VOLUME: VolumeSetting = { name: 'disk', sizeBytes: 10 * 2 ** 30 };
const NBD_TCP: NbdAddress = { host: '127.0.0.1', port: 10809 };
const PASSPHRASE_BYTES = 24;

/** Said when a port or the state directory is taken. */
const ELSEWHERE =
  'varve: to run a second one: npm start -- --nbd 127.0.0.1:10810 --state ./two --store file:two\n';

const context: CommandContext = {
  env: process.env,
  print: (text) => void process.stdout.write(text),
  printError: (text) => void process.stderr.write(text),
};

try {
  await quickstart(process.argv.slice(2));
} catch (error) {
  process.stderr.write(errorText(error, false));
  if (isStorageError(error, 'exists')) process.stderr.write(ELSEWHERE);
  process.exitCode = exitCodeOf(error);
}

async function quickstart(args: readonly string[]): Promise<void> {
  const given = await parseServeFlags(args, context);
  if (given === undefined) return;
  const settings = await withPassphraseFile(fillIn(given));
  const components = await realComponents(settings, context, { newPassphrase: false });
  try {
    await createStore(settings, components);
    context.printError(`varve: created the store ${settings.storeUrl}\n`);
  } catch (error) {
    // Every start but the first finds it there.
    if (!isStorageError(error, 'exists')) throw error;
  }
  await runDaemon(settings, components, (daemon) => {
    context.print(readyLine(daemon));
    context.printError(howToAttach(settings, daemon));
  });
}

function fillIn(given: Settings): Settings {
  const { storeUrl, volumes, nbd, stateDir } = given;
  return {
    ...given,
    storeUrl: storeUrl ?? `file:${resolve(STORE_DIR)}`,
    volumes: volumes.length > 0 ? volumes : [VOLUME],
    nbd: nbd.length > 0 ? nbd : [NBD_TCP, { path: join(stateDir, 'nbd.sock') }],
  };
}

/** Makes one at the first start, unless the caller has said where the passphrase is. */
async function withPassphraseFile(settings: Settings): Promise<Settings> {
  if (context.env['VARVE_PASSPHRASE'] !== undefined || settings.passphraseFile !== undefined) {
    return settings;
  }
  const path = join(settings.stateDir, 'passphrase');
  await mkdir(settings.stateDir, { recursive: true, mode: 0o700 });
  const passphrase = Buffer.from(systemRng.bytes(PASSPHRASE_BYTES)).toString('base64url');
  try {
    await writeFile(path, `${passphrase}\n`, { flag: 'wx', mode: 0o600, flush: true });
  } catch (error) {
    // Every start but the first finds it there, and must not replace it.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return { ...settings, passphraseFile: path };
}

function howToAttach(settings: Settings, { faces, volumes, adminSocket }: Daemon): string {
  const name = volumes[0]?.name ?? 'NAME';
  const uri = faces.find((one) => one.uri.startsWith('nbd+unix'))?.uri ?? faces[0]?.uri ?? '';
  const attach = [
    `  nbdinfo --list '${uri}'`,
    `  sudo ./varve attach ${name} --state ${settings.stateDir}`,
    `  qemu-img info '${withExport(uri, name)}'`,
  ];
  const places = [
    ['volumes', volumes.map((one) => `${one.name} (${formatSize(one.sizeBytes)})`).join(', ')],
    ['store', settings.storeUrl ?? ''],
    ['state', settings.stateDir],
    ['passphrase', settings.passphraseFile ?? 'VARVE_PASSPHRASE'],
    ['admin', adminSocket],
  ];
  return [
    `\n${formatTable(places, [])}`,
    'Attach it:',
    ...attach,
    `Look: ./varve status --state ${settings.stateDir}    Stop: Ctrl-C\n`,
  ].join('\n');
}

/**
 * `nbd://host:port` and `nbd+unix:///?socket=…` both take the export as their path (the NBD URI
 * format).
 */
function withExport(uri: string, name: string): string {
  const url = new URL(uri);
  url.pathname = `/${encodeURIComponent(name)}`;
  return url.href;
}
