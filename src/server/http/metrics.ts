// The status report as Prometheus reads it: the text exposition format, version 0.0.4.
//
//   # HELP varve_lag_seconds …
//   # TYPE varve_lag_seconds gauge
//   varve_lag_seconds 0.5
//
// Names end in their unit, counters in `_total`; a family's samples stand together.

import type { StatusReport, StoreCounts } from './report.ts';

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [value: number | undefined, labels?: Labels];

interface Family {
  /** Without `varve_`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  /** One without a value is left out. */
  readonly samples: readonly Sample[];
}

export function metricsText(report: StatusReport): string {
  const families = [
    ...branchFamilies(report),
    ...storeFamilies(report),
    ...collectionFamilies(report),
    ...cacheFamilies(report),
    ...nbdFamilies(report),
    ...volumeFamilies(report),
  ];
  return families.map(familyText).join('');
}

function familyText({ name, type, help, samples }: Family): string {
  let lines = '';
  for (const [value, labels] of samples) {
    if (value !== undefined) lines += `varve_${name}${labelText(labels ?? {})} ${value}\n`;
  }
  return lines === '' ? '' : `# HELP varve_${name} ${help}\n# TYPE varve_${name} ${type}\n${lines}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function gauge(name: string, help: string, ...samples: Sample[]): Family {
  return { name, type: 'gauge', help, samples };
}

function counter(name: string, help: string, ...samples: Sample[]): Family {
  return { name: `${name}_total`, type: 'counter', help, samples };
}

function branchFamilies(report: StatusReport): Family[] {
  const { version, branch, durability, following } = report;
  return [
    gauge('info', 'What runs; the value is 1.', [1, { version, branch, durability }]),
    gauge('epoch', 'Epoch of the writer.', [report.epoch]),
    gauge('acknowledged_commit', 'Last commit acknowledged to a client.', [report.acknowledged]),
    gauge('durable_commit', 'Last commit that the store holds.', [report.durable]),
    gauge('lag_bytes', 'Bytes that the store trails by.', [report.lagBytes]),
    gauge('lag_seconds', 'Time that the store trails by.', [report.lagSeconds]),
    counter('barriers', 'Barriers that clients asked for.', [report.barriers]),
    gauge('store_outage_seconds', 'For how long the store has failed, 0 while it answers.', [
      report.outage?.seconds ?? 0,
    ]),
    gauge('journal_used_bytes', 'Journal that is not free yet.', [report.journal?.bytes]),
    counter('journal_records', 'Records appended to the journal.', [report.journal?.records]),
    counter('journal_syncs', 'fdatasync calls of the journal.', [report.journal?.syncs]),
    counter('journal_overflows', 'Barriers that waited for the store past its bounds.', [
      report.journal?.overflows,
    ]),
    gauge('journal_failed', '1 while the journal fails.', [
      report.journal === undefined ? undefined : Number(report.journal.failure !== undefined),
    ]),
    gauge('follow_refreshed_seconds', 'Age of what a read-only server serves.', [
      seconds(following?.refreshedAgoMs),
    ]),
    gauge('follow_lease_seconds', 'Age of the lease of a read-only server.', [
      seconds(following?.leaseAgoMs),
    ]),
  ];
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}

const REQUEST_KINDS = ['put', 'get', 'list', 'head', 'delete'] as const;

function storeFamilies({ store }: StatusReport): Family[] {
  const causes = Object.entries(store.byCause);
  const each = (pick: (counts: StoreCounts) => number): Sample[] =>
    causes.map(([cause, counts]) => [pick(counts), { cause }]);
  const requests = causes.flatMap(([cause, counts]) =>
    REQUEST_KINDS.map((kind): Sample => [counts[kind], { kind, cause }]),
  );
  return [
    counter('store_requests', 'Requests to the object store, with retries.', ...requests),
    counter('store_sent_bytes', 'Bytes put into the store.', ...each((one) => one.bytesUp)),
    counter('store_received_bytes', 'Bytes got from the store.', ...each((one) => one.bytesDown)),
  ];
}

function collectionFamilies({ collection: of }: StatusReport): Family[] {
  return [
    gauge('stored_bytes', 'Objects of the branch at the last survey.', [of.storedBytes]),
    gauge('live_bytes', 'Of those, what the head reaches.', [of.liveBytes]),
    gauge('pinned_bytes', 'Of those, what snapshots and branches keep.', [of.pinnedBytes]),
    counter('collection_moved_bytes', 'Bytes moved to free objects.', [of.movedBytes]),
    counter('collection_deleted_objects', 'Objects deleted.', [of.deletedObjects]),
    counter('collection_deleted_bytes', 'Their bytes.', [of.deletedBytes]),
    counter('collection_waits', 'Times that writers waited for the collector.', [of.waits]),
  ];
}

/** By their names in the report; a tier may lack some. */
const CACHE_COUNTERS: readonly (readonly [field: string, name: string, help: string])[] = [
  ['hits', 'hits', 'Look-ups that were answered.'],
  ['misses', 'misses', 'Look-ups that were not.'],
  ['inserts', 'inserts', 'Entries taken in.'],
  ['evictions', 'evictions', 'Entries dropped for room.'],
  ['dropped', 'dropped_entries', 'Entries not kept, as the disk was slow or failed.'],
  ['damaged', 'damaged_entries', 'Entries found damaged, and not used.'],
];
const CACHE_GAUGES: readonly (readonly [field: string, name: string, help: string])[] = [
  ['bytes', 'bytes', 'Bytes of entries.'],
  ['budgetBytes', 'budget_bytes', 'Bytes that it may have.'],
  ['failed', 'failed', '1 while the disk is not used because it fails.'],
];

function cacheFamilies({ cache }: StatusReport): Family[] {
  const tiers = Object.entries(cache);
  const samples = (field: string): Sample[] =>
    tiers.map(([tier, numbers]) => [numbers[field], { tier }]);
  return [
    ...CACHE_COUNTERS.map(([field, name, help]) =>
      counter(`cache_${name}`, help, ...samples(field)),
    ),
    ...CACHE_GAUGES.map(([field, name, help]) => gauge(`cache_${name}`, help, ...samples(field))),
  ];
}

const NBD_COMMANDS = {
  reads: 'read',
  writes: 'write',
  flushes: 'flush',
  trims: 'trim',
  zeroes: 'write_zeroes',
  statuses: 'block_status',
  caches: 'cache',
} as const;

function nbdFamilies({ nbd }: StatusReport): Family[] {
  if (nbd === undefined) return [];
  const requests = Object.entries(NBD_COMMANDS).map(([field, command]): Sample => {
    return [nbd[field as keyof typeof NBD_COMMANDS], { command }];
  });
  return [
    gauge('nbd_open_connections', 'Clients now.', [nbd.open]),
    counter('nbd_connections', 'Clients that connected.', [nbd.connections]),
    gauge('nbd_shared_bytes', 'Memory that clients hold past their own share.', [nbd.sharedBytes]),
    counter('nbd_dropped', 'Clients dropped for letting that memory lie.', [nbd.dropped]),
    counter('nbd_requests', 'Requests of clients.', ...requests),
    counter('nbd_errors', 'Replies with an error.', [nbd.errors]),
    counter('nbd_read_bytes', 'Bytes that clients read.', [nbd.bytesRead]),
    counter('nbd_written_bytes', 'Bytes that clients wrote.', [nbd.bytesWritten]),
  ];
}

function volumeFamilies({ volumes }: StatusReport): Family[] {
  const each = (field: 'size' | 'used'): Sample[] =>
    volumes.map((one) => [one[field], { volume: one.name }]);
  return [
    gauge('volume_size_bytes', 'Size of a volume.', ...each('size')),
    gauge('volume_used_bytes', 'What of it is written.', ...each('used')),
  ];
}
