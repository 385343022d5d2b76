#!/bin/bash
# build-zfs.sh DIR: builds Debian's OpenZFS modules for the kernel that build.sh chose, into DIR/zfs.
# As root; takes minutes. `ZFS=DIR/zfs build.sh DIR` then puts them into the guest.
#
# The source is Debian's zfs-dkms (contrib), unpacked and not installed: dkms would build for the
# kernel of this machine. Its headers and compiler are installed.
set -euo pipefail
out=$(cd "${1:?usage: build-zfs.sh DIR}" && pwd)
kver=$(cat "$out/version")
step() { echo "zfs $(printf %4d $SECONDS) s: $*"; }

step "headers and compiler"
apt-get install -y --no-install-recommends "linux-headers-$kver" make gcc gawk file >/dev/null

step "source"
mkdir -p "$out/deb" && chmod 777 "$out/deb"
# contrib may be off on this machine, and stays so: only this download knows of it.
lists=$out/apt
mkdir -p "$lists/state/lists/partial" "$lists/cache/archives/partial"
apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
  grep bookworm | sort -u | awk '{print "deb " $1 " " $2 " contrib"}' >"$lists/sources.list"
apt_contrib=(-o Dir::Etc::sourcelist="$lists/sources.list" -o Dir::Etc::sourceparts=/nonexistent
  -o Dir::State::lists="$lists/state/lists" -o Dir::Cache="$lists/cache")
apt-get -qq "${apt_contrib[@]}" update
(cd "$out/deb" && rm -f zfs-dkms_*.deb && apt-get -qq "${apt_contrib[@]}" download zfs-dkms)
rm -rf "$out/zfs-src" && dpkg-deb -x "$out"/deb/zfs-dkms_*.deb "$out/zfs-src"

cd "$out"/zfs-src/usr/src/zfs-*
headers=/lib/modules/$kver
[ -e "$headers/build" ] || headers=/usr/src/linux-headers-$kver
if [ -e "$headers/build" ]; then
  obj=$(readlink -f "$headers/build") src=$(readlink -f "$headers/source")
else
  obj=$headers src=${headers%-amd64}-common
fi
step "configure"
./configure --with-config=kernel --with-linux="$src" --with-linux-obj="$obj" >"$out/zfs.log" 2>&1
step "make"
make -j"$(nproc)" >>"$out/zfs.log" 2>&1
mkdir -p "$out/zfs.new" && find module -name '*.ko' -exec cp {} "$out/zfs.new/" \;
strip --strip-debug "$out"/zfs.new/*.ko
rm -rf "$out/zfs-src" "$out/zfs" && mv "$out/zfs.new" "$out/zfs"
step "done"
