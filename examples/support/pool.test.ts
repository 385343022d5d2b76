import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exportPool, parseStatus } from './pool.ts';

const TEXT = `  pool: tp
 state: DEGRADED
status: One or more devices could not be used.
	Sufficient replicas exist for the pool to continue functioning in a
	degraded state.
action: Replace the device.
 scrub: resilver completed after 0h0m with 0 errors on Sun Nov 22 23:43:44 2026
config:

	NAME             STATE     READ WRITE CKSUM
	tp               DEGRADED     0     0     0
	  mirror-0       DEGRADED     0     0     0
	    /dev/loop0   ONLINE       0     0     0
	    /dev/loop1   ONLINE       0     0     0  23.0M resilvered
	    /dev/loop2   FAULTED      3 1.2K     1  too many errors
	cache
	  /dev/loop3     ONLINE       0     0     0

errors: No known data errors
`;

test('a pool says how it is, and each of its devices', () => {
  const { state, devices, scan, errors } = parseStatus(TEXT);
  assert.equal(state, 'DEGRADED');
  assert.match(scan, /^resilver completed .* with 0 errors/);
  assert.equal(errors, 'No known data errors');
  assert.deepEqual(devices.get('/dev/loop2'), {
    state: 'FAULTED',
    errors: ['3', '1.2K', '1'],
    resilveredBytes: undefined,
  });
  assert.equal(devices.get('/dev/loop1')?.resilveredBytes, 23 * 1024 * 1024);
  assert.equal(devices.get('mirror-0')?.state, 'DEGRADED');
  assert.equal(devices.size, 6);
});

/** Answers `zpool` with each of these in turn. */
function hostThatSays(answers: readonly string[]) {
  const asked: string[] = [];
  return {
    asked,
    async zpool(...args: string[]): Promise<string> {
      asked.push(args.join(' '));
      const answer = answers[asked.length - 1];
      if (answer !== undefined) throw new Error(answer);
      return '';
    },
  };
}

test('a pool that is busy for a moment is exported behind it', async () => {
  const host = hostThatSays(["cannot export 'tp': pool is busy"]);
  await exportPool(host, 'tp');
  assert.deepEqual(host.asked, ['export tp', 'export tp']);
});

test('an export that fails otherwise is not tried again', async () => {
  const host = hostThatSays(["cannot open 'tp': no such pool"]);
  await assert.rejects(exportPool(host, 'tp'), /no such pool/);
  assert.deepEqual(host.asked, ['export tp']);
});
