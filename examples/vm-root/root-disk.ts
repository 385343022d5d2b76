// qemu's arguments for a disk that is a volume.

import { z } from 'zod';
import { runCommand } from '../../test/support/command.ts';

const exportList = z.object({ exports: z.array(z.object({ 'export-name': z.string() })).min(1) });

/**
 * The same volume, by the name that only this server and those that follow it in order know:
 * `VOLUME/VERIFIER`. A server that was started behind a crash refuses it.
 */
export async function uriWithVerifier(uri: string): Promise<string> {
  const url = new URL(uri);
  url.pathname = `${url.pathname}/`;
  const { exports } = exportList.parse(
    JSON.parse(await runCommand('nbdinfo', ['--json', url.href])),
  );
  url.pathname = `/${encodeURIComponent(exports[0]!['export-name'])}`;
  return url.href;
}

/** Of an `nbd+unix:` address. */
export function rootDisk(uri: string, reconnectSeconds: number): readonly string[] {
  const url = new URL(uri);
  const blockdev = {
    driver: 'nbd',
    'node-name': 'root',
    server: { type: 'unix', path: url.searchParams.get('socket')! },
    export: decodeURIComponent(url.pathname.replace(/^\/+/, '')),
    // Requests wait so long for a server, and are sent to it once more. Then they fail.
    'reconnect-delay': reconnectSeconds,
    // TRIM of the guest gives space back to the store.
    discard: 'unmap',
    // A write that the host's page cache holds would be lost with the host; NBD has none.
    cache: { direct: true, 'no-flush': false },
  };
  // The guest gets the error: by default qemu would stop the guest when space has run out.
  const device = 'virtio-blk-pci,drive=root,werror=report,rerror=report';
  return ['-blockdev', JSON.stringify(blockdev), '-device', device];
}
