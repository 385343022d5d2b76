// OpenZFS, the kernel module, on a volume: a pool with a local second level of its read cache is
// scrubbed, trimmed, exported and imported; the server is started again in between.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ensureGuest } from '../../scripts/vm/vm.ts';
import { createWorld } from './world.ts';

const MIB = 1024 * 1024;
const FILE_BYTES = 32 * MIB;

const SCRIPT = `
modprobe -a zfs loop
connect() {
  nbd-client 10.0.2.2 $PORT /dev/nbd0 -N disk -C 2 -b 4096 -timeout 604800 >/dev/null
  until [ "$(cat /sys/block/nbd0/size)" != 0 ]; do sleep 0.1; done
}
disconnect() {
  nbd-client -d /dev/nbd0 >/dev/null
  while [ -e /sys/block/nbd0/pid ]; do sleep 0.1; done
}
scrub() {
  zpool scrub -w tank
  zpool status tank >/tmp/status
  grep -q 'errors: No known data errors' /tmp/status || fail "$(cat /tmp/status)"
  grep -q 'with 0 errors' /tmp/status || fail "$(cat /tmp/status)"
}
head -c ${FILE_BYTES} /dev/urandom >/tmp/noise
truncate -s 128M /tmp/cache
cache=$(losetup --find --show /tmp/cache)
connect
zpool create -o ashift=12 -O compression=lz4 -O atime=off -m /mnt tank /dev/nbd0 cache "$cache"
zpool status tank | grep -q "\${cache#/dev/}" || fail 'no L2ARC'
cp /tmp/noise /mnt/kept
cp /tmp/noise /mnt/removed
mkdir /mnt/many
for i in $(seq 100); do echo "file $i" >/mnt/many/$i; done
zfs snapshot tank@before
zpool sync tank
scrub
say 'full'
hear counted
zfs destroy tank@before
rm /mnt/removed
zpool sync tank
zpool trim -w tank
say 'trimmed'
hear counted-again
zpool export tank
disconnect
say 'exported'
hear restarted
connect
zpool import -d /dev tank
zpool status tank | grep -q "\${cache#/dev/}" || fail 'no L2ARC behind the import'
cmp /tmp/noise /mnt/kept
[ "$(cat /mnt/many/* | sort -u | wc -l)" = 100 ] || fail 'files are gone'
scrub
zpool export tank
disconnect
if dmesg | grep -E 'I/O error|timed out|Dead conn'; then fail 'the kernel has seen errors'; fi
say 'done'
`;

test('a pool of ZFS on the kernel’s NBD device, with an L2ARC of the guest’s own', async () => {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const image = await ensureGuest({ zfs: true, say });
  await using world = await createWorld({ volumes: { disk: '512M' } });
  const guest = await world.boot(image, SCRIPT);
  await guest.said('== full');
  const full = await world.usedBytes('disk');
  const fullStored = await world.storedBytes();
  await guest.tell('counted');
  await guest.said('== trimmed');
  const trimmed = await world.usedBytes('disk');
  const trimmedStored = await world.storedBytes();
  // ZFS keeps the blocks of the last few transactions.
  assert.ok(full - trimmed > FILE_BYTES / 2, `${full} bytes used, ${trimmed} when trimmed`);
  const stored = `${fullStored} bytes stored, ${trimmedStored} when trimmed`;
  // Collection leaves a quarter of what lives as garbage.
  assert.ok(fullStored - trimmedStored > FILE_BYTES / 4, stored);
  process.stderr.write(`${stored}\n`);
  await guest.tell('counted-again');
  await guest.said('== exported');
  assert.equal((await world.server.stop()).code, 0);
  await world.server.restart();
  await guest.tell('restarted');
  assert.equal(await guest.ended, 0);
});
