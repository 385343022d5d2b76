// A virtual machine whose root file system lies on a volume, and what it says.

import { type Guest, type GuestImage, startGuest } from '../../scripts/vm/vm.ts';

/** How long qemu holds the guest's requests while it looks for a server. */
const RECONNECT_SECONDS = 30;

/**
 * qemu's arguments for a root disk behind NBD. The export's name carries the server's write
 * verifier: behind a crash qemu is refused, and the guest sees I/O errors instead of old blocks.
 */
export function nbdRootDisk(socket: string, exportName: string): readonly string[] {
  const blockdev = {
    driver: 'nbd',
    'node-name': 'root',
    server: { type: 'unix', path: socket },
    export: exportName,
    'reconnect-delay': RECONNECT_SECONDS,
    discard: 'unmap',
    cache: { direct: true },
  };
  const device = 'virtio-blk-pci,drive=root,logical_block_size=512,physical_block_size=4096';
  return ['-blockdev', JSON.stringify(blockdev), '-device', device];
}

/** Appends a line and makes it durable, until the host has seen enough; says the count. */
const WRITER = `
set -u
echo "== root on $(findmnt -n -o SOURCE,FSTYPE /), up in $(cut -d' ' -f1 /proc/uptime) s"
count=$(grep -c '^line' /ledger 2>/dev/null || true)
echo "== begins behind \${count:-0} lines"
count=\${count:-0}
while [ ! -e /share/enough ]; do
  echo "line $count" >>/ledger || break
  sync /ledger || break
  count=$((count + 1))
  echo "answered $count"
done 2>/dev/null
if [ -e /share/enough ]; then
  dmesg | grep -E 'I/O error|EXT4-fs error' && exit 1
  echo "== ends with $count lines"
  exit 0
fi
echo "== the disk has failed"
exit 2
`;

export interface RootedMachine {
  readonly guest: Guest;
  /** Lines for which fsync has succeeded in the guest, as far as it could say so. */
  answered(): number;
  /** The longest time between two lines since it was last asked, in milliseconds. */
  longestStallMs(): number;
}

export async function bootFromVolume(
  image: GuestImage,
  socket: string,
  exportName: string,
  signal: AbortSignal | undefined,
): Promise<RootedMachine> {
  let answered = 0;
  let longest = 0;
  let before: number | undefined;
  const stall = (): number => (before === undefined ? 0 : performance.now() - before);
  const guest = await startGuest(image, WRITER, {
    rootDisk: nbdRootDisk(socket, exportName),
    signal,
    onLine(line) {
      const count = /^answered (\d+)/.exec(line)?.[1];
      if (count === undefined) return;
      longest = Math.max(longest, stall());
      before = performance.now();
      answered = Number(count);
    },
  });
  return {
    guest,
    answered: () => answered,
    longestStallMs() {
      const told = longest;
      longest = 0;
      return told;
    },
  };
}
