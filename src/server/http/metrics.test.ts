import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metricsText } from './metrics.ts';
import type { StatusReport } from './report.ts';
import { STATUS } from './testing.ts';

const NBD: StatusReport['nbd'] = {
  open: 2,
  connections: 3,
  reads: 4,
  writes: 5,
  flushes: 6,
  trims: 7,
  zeroes: 8,
  statuses: 9,
  caches: 10,
  errors: 11,
  bytesRead: 12,
  bytesWritten: 13,
  sharedBytes: 14,
  dropped: 15,
};

const report: StatusReport = {
  ...STATUS,
  nbd: NBD,
  volumes: [{ name: 'a"b\\c\nd', size: 8192, used: 4096 }],
  cache: { memory: { hits: 1, bytes: 2 }, disk: { hits: 3, damaged: 4, failed: 0 } },
  following: { refreshedAgoMs: 1500, leaseAgoMs: 20, manifest: 3 },
};

test('each family is told of once, and its samples follow it', () => {
  const families = new Set<string>();
  let family = '';
  let type = '';
  for (const line of metricsText(report).trimEnd().split('\n')) {
    const help = /^# HELP (varve_[a-z_]+) \S.*\.$/.exec(line);
    if (help !== null) {
      family = help[1]!;
      assert.ok(!families.has(family), `${family} comes twice`);
      families.add(family);
      continue;
    }
    const typed = /^# TYPE (varve_[a-z_]+) (gauge|counter)$/.exec(line);
    if (typed !== null) {
      assert.equal(typed[1], family);
      type = typed[2]!;
      assert.equal(type === 'counter', family.endsWith('_total'), family);
      continue;
    }
    const sample = /^(varve_[a-z_]+)(\{([a-z]+="([^"\\\n]|\\[\\"n])*",?)+\})? \d+(\.\d+)?$/.exec(
      line,
    );
    assert.ok(sample !== null, line);
    assert.equal(sample[1], family, line);
  }
  assert.ok(families.size > 20);
});

test('numbers arrive under their names', () => {
  const lines = metricsText(report).split('\n');
  for (const line of [
    'varve_info{version="1",branch="main",durability="store"} 1',
    'varve_lag_seconds 0.5',
    'varve_store_requests_total{kind="put",cause="barrier"} 1',
    'varve_store_sent_bytes_total{cause="barrier"} 6',
    'varve_cache_hits_total{tier="disk"} 3',
    'varve_cache_failed{tier="disk"} 0',
    'varve_nbd_open_connections 2',
    'varve_nbd_shared_bytes 14',
    'varve_nbd_dropped_total 15',
    'varve_nbd_requests_total{command="write_zeroes"} 8',
    'varve_nbd_read_bytes_total 12',
    'varve_volume_size_bytes{volume="a\\"b\\\\c\\nd"} 8192',
    'varve_follow_refreshed_seconds 1.5',
  ]) {
    assert.ok(lines.includes(line), line);
  }
});

test('what the report lacks is left out', () => {
  const text = metricsText({ ...STATUS, volumes: [] });
  assert.doesNotMatch(text, /varve_(nbd|follow|volume|stored)/);
  assert.doesNotMatch(text, /undefined|NaN/);
});
