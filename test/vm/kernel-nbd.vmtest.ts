// The kernel's own NBD client and its file systems on a volume: ext4, XFS and btrfs made, filled,
// trimmed and checked by two connections; what is discarded is no longer counted; a volume grows.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ensureGuest } from '../../scripts/vm/vm.ts';
import { createWorld } from './world.ts';

const MIB = 1024 * 1024;
const FILE_BYTES = 32 * MIB;

const CONNECT = `
connect() {
  nbd-client 10.0.2.2 $PORT /dev/nbd0 -N disk -b 4096 -timeout 604800 "$@" >/dev/null
  until [ "$(cat /sys/block/nbd0/size)" != 0 ]; do sleep 0.1; done
}
disconnect() {
  nbd-client -d /dev/nbd0 >/dev/null
  while [ -e /sys/block/nbd0/pid ]; do sleep 0.1; done
}
no_errors() { if dmesg | grep -E 'I/O error|timed out|Dead conn'; then fail "$1"; fi; }
`;

const FILE_SYSTEMS = `${CONNECT}
check() {
  case $1 in
    ext4) e2fsck -fn /dev/nbd0 ;;
    xfs) xfs_repair -n /dev/nbd0 ;;
    btrfs) btrfs check /dev/nbd0 ;;
  esac >/tmp/check 2>&1 || fail "$1: $(tail -n 20 /tmp/check)"
}
head -c ${FILE_BYTES} /dev/urandom >/tmp/noise
connect -C 2
grep . /sys/block/nbd0/queue/{logical_block_size,fua,write_cache,discard_max_bytes}
[ "$(cat /sys/block/nbd0/queue/discard_max_bytes)" != 0 ] || fail 'no discard'
[ "$(cat /sys/block/nbd0/queue/write_cache)" = 'write back' ] || fail 'no flush'
for kind in ext4 xfs btrfs; do
  wipefs -aq /dev/nbd0
  mkfs.$kind -q /dev/nbd0
  mount /dev/nbd0 /mnt
  cp /tmp/noise /mnt/noise
  mkdir /mnt/many
  for i in $(seq 100); do echo "file $i" >/mnt/many/$i; done
  fio --name=verify --filename=/mnt/load --size=4M --rw=randwrite --bs=4k \\
    --ioengine=libaio --direct=1 --iodepth=8 --fsync=64 --verify=crc32c --verify_fatal=1 \\
    --eta=never --output=/tmp/fio
  umount /mnt
  check $kind
  mount /dev/nbd0 /mnt
  cmp /tmp/noise /mnt/noise
  [ "$(cat /mnt/many/* | sort -u | wc -l)" = 100 ] || fail "$kind: files are gone"
  say "$kind is full"
  hear $kind-counted
  rm -r /mnt/noise /mnt/many /mnt/load
  sync
  fstrim /mnt
  umount /mnt
  check $kind
  disconnect
  connect -C 2
  say "$kind is trimmed"
  hear $kind-counted-again
done
disconnect
no_errors 'the file systems'
say 'file systems done'

connect
mkfs.ext4 -q -F /dev/nbd0
mount /dev/nbd0 /mnt
umount /mnt
disconnect
say 'small'
hear grown
connect
e2fsck -fp /dev/nbd0 >/dev/null
resize2fs /dev/nbd0 >/dev/null 2>&1
mount /dev/nbd0 /mnt
say "grown to $(blockdev --getsize64 /dev/nbd0), $(df --output=size -m /mnt | tail -n 1) MiB"
umount /mnt
disconnect
`;

test('ext4, XFS and btrfs on the kernel’s NBD device; fstrim; a volume that grows', async () => {
  const image = await ensureGuest({ say: (line) => void process.stderr.write(`${line}\n`) });
  await using world = await createWorld({ volumes: { disk: '512M' } });
  const { server } = world;
  const guest = await world.boot(image, FILE_SYSTEMS);
  for (const kind of ['ext4', 'xfs', 'btrfs']) {
    await guest.said(`${kind} is full`);
    const full = await world.usedBytes('disk');
    await guest.tell(`${kind}-counted`);
    await guest.said(`${kind} is trimmed`);
    const trimmed = await world.usedBytes('disk');
    const least = FILE_BYTES;
    assert.ok(full - trimmed >= least, `${kind}: ${full} bytes used, ${trimmed} when trimmed`);
    await guest.tell(`${kind}-counted-again`);
  }
  await guest.said('small');
  await server.command('volume', 'resize', 'disk', '768M');
  await guest.tell('grown');
  assert.equal(await guest.ended, 0);
  const grown = guest.lines.find((line) => line.includes('grown to'))!;
  const [, bytes, mib] = /grown to (\d+), *(\d+) MiB/.exec(grown)!;
  assert.equal(Number(bytes), 768 * MIB);
  assert.ok(Number(mib) > 600, grown);
});
