#!/bin/bash
# build.sh DIR: builds a Debian guest for vm.ts from Debian's own packages. As root.
#
# Leaves in DIR:
#   vmlinuz      Debian's kernel
#   initrd.gz    busybox and the modules that lead to the root disk
#   root.ext4    the root file system, sparse; vm.ts boots it with snapshot=on, so it is never written
#   version      the kernel's version
# Knobs:
#   KVER   the kernel's version (default: what linux-image-amd64 depends on)
#   ZFS    a folder made by build-zfs.sh: its modules go into the guest
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: build.sh DIR}"
out=$(cd "$1" && pwd)
step() { echo "guest $(printf %4d $SECONDS) s: $*"; }

# This machine's own Debian mirrors, with contrib, where ZFS is.
debian_sources() {
  apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
    grep bookworm | sort -u | awk '{print "deb " $1 " " $2 " main contrib"}'
}

kver=${KVER:-$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: linux-image-//p' | head -1)}
echo "$kver" >"$out/version"

# Unpacked, not installed: installing it would run the hooks of this machine.
if [ ! -e "$out/kernel/lib/modules/$kver" ]; then
  step "kernel $kver"
  # apt gives up root before it downloads.
  mkdir -p "$out/kernel" "$out/deb" && chmod 777 "$out/deb"
  (cd "$out/deb" && apt-get -qq download "linux-image-$kver" 2>/dev/null)
  dpkg-deb -x "$out/deb/linux-image-$kver"_*.deb "$out/kernel"
fi
cp "$out/kernel/boot/vmlinuz-$kver" "$out/vmlinuz"

# Node needs libatomic1.
packages=libatomic1,kmod,iproute2,procps,util-linux,mount,fio
packages+=,nbd-client,libnbd-bin,nbdkit,e2fsprogs,xfsprogs,btrfs-progs,zfsutils-linux
if [ "$(cat "$out/root.packages" 2>/dev/null)" != "$packages" ]; then
  step "root file system of $packages"
  # policy-rc.d: no daemon starts while packages are configured.
  mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --setup-hook='mkdir -p "$1/usr/sbin"' \
    --setup-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"' \
    --setup-hook='chmod 755 "$1/usr/sbin/policy-rc.d"' \
    bookworm "$out/root.tar.new" - <<<"$(debian_sources)"
  mv "$out/root.tar.new" "$out/root.tar"
  echo "$packages" >"$out/root.packages"
fi

step "modules and guest-init"
tree=$out/tree
rm -rf "$tree" && mkdir "$tree"
tar -C "$tree" -xf "$out/root.tar" --exclude='./dev/*'
modules=$tree/lib/modules/$kver
mkdir -p "$modules" && cp "$out/kernel/lib/modules/$kver"/modules.* "$modules/"
# What a guest of qemu and its tests can use; the drivers of real hardware are the bulk of the rest.
for part in arch crypto lib fs net/9p net/core net/ipv4 net/ipv6 net/unix net/packet \
  drivers/block drivers/virtio drivers/net/virtio_net.ko drivers/net/net_failover.ko net/core/failover.ko \
  drivers/char/virtio_console.ko drivers/char/hw_random drivers/md; do
  [ -e "$out/kernel/lib/modules/$kver/kernel/$part" ] || continue
  mkdir -p "$(dirname "$modules/kernel/$part")"
  cp -a "$out/kernel/lib/modules/$kver/kernel/$part" "$(dirname "$modules/kernel/$part")/"
done
if [ -n "${ZFS:-}" ]; then mkdir -p "$modules/updates" && cp "$ZFS"/*.ko "$modules/updates/"; fi
depmod -b "$tree" "$kver" 2>/dev/null
install -m 755 "$here/guest-init" "$tree/sbin/guest-init"
echo '10.0.2.2 host' >>"$tree/etc/hosts"
ln -sf /proc/self/mounts "$tree/etc/mtab"

step "root.ext4"
used=$(du -sm "$tree" | cut -f1)
rm -f "$out/root.ext4" && truncate -s $((used + 1024))M "$out/root.ext4"
mke2fs -q -t ext4 -E lazy_itable_init=1 -d "$tree" "$out/root.ext4"

step "initrd"
ird=$out/ird
rm -rf "$ird" && mkdir -p "$ird"/{bin,m,root,dev}
cp /bin/busybox "$ird/bin/"
# In the order of their dependencies, as modprobe would load them.
for module in virtio_pci virtio_blk ext4; do
  modprobe -d "$tree" -S "$kver" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
  cp "$file" "$ird/m/" && basename "$file" >>"$ird/m/order"
done
cat >"$ird/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
while read -r file; do $b insmod /m/$file; done </m/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do $b usleep 50000; tries=$((tries + 1)); done
$b mount -t ext4 -o noatime /dev/vda /root
$b mount --move /dev /root/dev
exec $b switch_root /root /sbin/guest-init
INIT
chmod 755 "$ird/init"
(cd "$ird" && find . | cpio -o -H newc --quiet) | gzip -1 >"$out/initrd.gz"
rm -rf "$ird" "$tree"
step "done: root.ext4 has $(du -h "$out/root.ext4" | cut -f1)"
