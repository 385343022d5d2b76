#!/usr/bin/env bash
# A real S3 server for tests and benchmarks: Ceph's RADOS Gateway, from Debian's packages, with its
# data in RAM.
#
#   rgw.sh start DIR [PORT]   prints the endpoint; access key AK, secret key SK, region us-east-1
#   rgw.sh stop DIR           ends what DIR's pid files name, and waits for it
#
# Path-style on http://127.0.0.1:PORT, virtual-host style on http://BUCKET.localhost:PORT. Ready in
# some 15 s. The monitor listens on RGW_MON_PORT (default PORT + 1), the store holds
# RGW_MEMSTORE_BYTES (default 4 GiB).
set -euo pipefail

packages='ceph-mon ceph-osd radosgw ceph-common uuid-runtime curl'
verb=${1:?start or stop} dir=${2:?a directory} port=${3:-7480}

stop() {
  local file pid
  for file in "$dir"/run/*.pid; do
    [[ -s $file ]] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    # The data is in RAM and worth nothing: what does not stop in 10 s is killed.
    kill -9 "$pid" 2>/dev/null || true
  done
}

if [[ $verb == stop ]]; then
  stop
  exit 0
fi
[[ $verb == start ]] || { echo "usage: rgw.sh start DIR [PORT] | stop DIR" >&2; exit 2; }

for tool in ceph-mon ceph-osd radosgw ceph monmaptool radosgw-admin uuidgen curl; do
  command -v "$tool" >/dev/null && continue
  echo "rgw.sh: $tool is missing: apt-get install -y --no-install-recommends $packages" >&2
  exit 3
done

# Debian's ceph tools are written for Debian's Python, whatever else comes first in PATH.
export PATH=/usr/bin:/bin:$PATH
rm -rf "$dir"
mkdir -p "$dir"/{mon,osd,log,run}
trap 'stop' ERR

fsid=$(uuidgen) conf=$dir/ceph.conf mon=${RGW_MON_PORT:-$((port + 1))}
# Without tcp_nodelay a small GET on a kept connection waits 40 ms for the client's delayed ACK. An
# OSD that updates its own class and place on start may ask before it knows the cluster's id, and is
# then refused ("wrong fsid"), now and then on a busy machine and often on an idle one.
cat >"$conf" <<CONF
[global]
fsid = $fsid
mon initial members = a
mon host = v1:127.0.0.1:$mon
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon warn on pool no redundancy = false
mon allow pool size one = true
mon data avail crit = 1
mon data = $dir/mon
osd data = $dir/osd
osd objectstore = memstore
osd class update on start = false
osd crush update on start = false
memstore device bytes = ${RGW_MEMSTORE_BYTES:-4294967296}
osd max object name len = 256
log file = $dir/log/\$name.log
run dir = $dir/run
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw dns name = localhost
CONF

monmaptool --create --clobber --fsid "$fsid" --addv a "[v1:127.0.0.1:$mon]" "$dir/monmap" >/dev/null
ceph-mon -c "$conf" --mkfs -i a --monmap "$dir/monmap"
ceph-mon -c "$conf" -i a
osd=$(uuidgen)
timeout 30 ceph -c "$conf" osd new "$osd" >/dev/null
ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd" 2>/dev/null
timeout 30 ceph -c "$conf" osd crush add osd.0 1.0 root=default host=h >/dev/null 2>&1
ceph-osd -c "$conf" -i 0 2>/dev/null
radosgw -c "$conf" -n client.rgw
ready=no
for _ in $(seq 120); do
  if curl -s -o /dev/null "http://127.0.0.1:$port/"; then ready=yes; break; fi
  sleep 0.5
done
if [[ $ready == no ]]; then
  echo "rgw.sh: no answer on port $port after 60 s; see $dir/log" >&2
  stop
  exit 1
fi
radosgw-admin -c "$conf" user create --uid=t --display-name=t \
  --access-key=AK --secret-key=SK >/dev/null
trap - ERR
echo "http://127.0.0.1:$port"
