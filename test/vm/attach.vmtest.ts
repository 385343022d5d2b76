// `varve attach` by the kernel's NBD client, in a guest: a device that goes on behind a server that
// was slow and one that was started again, fails behind a crash, and is attached anew.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ensureGuest } from '../../scripts/vm/vm.ts';
import { createWorld } from './world.ts';

/** Longer than the kernel waits for a reply when nobody told it to wait longer. */
const SLOW_MS = 35_000;

const SCRIPT = `
export NODE_COMPILE_CACHE=/tmp/node-cache
varve() { /varve/varve "$@" --state /tmp/varve; }
attach() { varve attach disk --server "nbd://10.0.2.2:$PORT" --how kernel --patience 20; }
# Writes and compares, until the host has seen enough.
load() {
  local until=$1
  while [ ! -e "/share/$until" ]; do
    fio --name=load --filename=/mnt/load --size=1M --rw=randwrite --bs=4k \\
      --ioengine=libaio --direct=1 --iodepth=8 --fsync=64 --verify=crc32c --verify_fatal=1 \\
      --eta=never --output=/tmp/fio
  done
}
no_errors() { if dmesg | grep -E 'I/O error|timed out|Dead conn'; then fail "$1"; fi; }

device=$(attach)
[ "$(attach)" = "$device" ] || fail 'the second attach is no other device'
say "attached $device"
mkfs.ext4 -q "$device"
mount "$device" /mnt
load slow-over & loading=$!
say 'under load, to be slow'
wait $loading
no_errors 'a slow server'
load restarted & loading=$!
say 'under load, to be restarted'
wait $loading
no_errors 'a clean restart'
say 'no error behind a restart'

# What fsync has answered for is counted in the memory of the guest.
ledger() {
  local count=0
  while echo "line $count" >>/mnt/ledger && sync /mnt/ledger; do
    count=$((count + 1))
    echo $count >/tmp/answered
    [ $count != 20 ] || say 'under load, to be killed'
  done 2>/dev/null
}
ledger
say "failed behind a crash, with $(cat /tmp/answered) lines answered"
dmesg | grep -q 'I/O error' || fail 'the kernel has seen no error'
# Every request that umount makes would wait for the patience of the proxy, one after the other.
kill -KILL "$(cat /run/varve-attach/*/disk.pid)"
nbd-client -d "$device" >/dev/null
umount /mnt
say 'the file system is gone'
again=$(attach)
say "attached again $again"
mount "$again" /mnt
lines=$(grep -c '^line' /mnt/ledger)
[ "$lines" -ge "$(cat /tmp/answered)" ] || fail "$lines lines of $(cat /tmp/answered)"
umount /mnt
e2fsck -fn "$again" >/tmp/e2fsck || fail "$(cat /tmp/e2fsck)"
varve detach disk
[ ! -e "/sys/block/\${again#/dev/}/pid" ] || fail 'the device is still there'
if ps -C nbdkit; then fail 'nbdkit is still there'; fi
say 'nothing is left'
`;

test('a device of the kernel goes on behind a clean end, and fails behind a crash', async () => {
  const image = await ensureGuest({ say: (line) => void process.stderr.write(`${line}\n`) });
  await using world = await createWorld({ volumes: { disk: '256M' } });
  const { server } = world;
  const guest = await world.boot(image, SCRIPT);
  await guest.said('to be slow');
  process.kill(server.pid, 'SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
  process.kill(server.pid, 'SIGCONT');
  await guest.tell('slow-over');
  await guest.said('to be restarted');
  assert.equal((await server.stop()).code, 0);
  await server.restart();
  await guest.tell('restarted');
  await guest.said('to be killed');
  await server.kill9();
  await server.restart();
  assert.equal(await guest.ended, 0);
  assert.ok(guest.lines.includes('== nothing is left'));
});
