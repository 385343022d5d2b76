import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { createManualClock } from '../manual-clock.ts';
import { rejectsWith } from '../testing-store.ts';
import { cachedCredentials, staticCredentials, type Credentials } from './credentials.ts';
import { fail, type Handler, reply, withServer } from './testing-server.ts';

const options = { cause: 'admin' } as const;

describe('credentials that expired', () => {
  const old: Credentials = { accessKeyId: 'OLD', secretAccessKey: 's', sessionToken: 't1' };
  const fresh: Credentials = { accessKeyId: 'NEW', secretAccessKey: 's', sessionToken: 't2' };
  const byToken: Handler = (request, response, body) => {
    const good = request.headers['x-amz-security-token'] === 't2';
    (good ? reply(200, 'ok') : fail(400, 'ExpiredToken'))(request, response, body);
  };

  it('are renewed once, for however many requests find out', async () => {
    const loads: boolean[] = [];
    const load = async (force: boolean): Promise<Credentials> => {
      loads.push(force);
      return force ? fresh : old;
    };
    const deps = { clock: createManualClock(), log: silentLog };
    await withServer(
      [byToken],
      async ({ store }) => {
        const reads = Array.from({ length: 5 }, () => store.get('k', undefined, options));
        for (const { bytes } of await Promise.all(reads)) {
          assert.equal(Buffer.from(bytes).toString(), 'ok');
        }
        assert.deepEqual(loads, [false, true]);
      },
      { credentials: cachedCredentials(load, deps) },
    );
  });

  it('are an error when the renewed ones are refused too', async () => {
    await withServer(
      [byToken],
      async ({ store, seen }) => {
        await rejectsWith(store.get('k', undefined, options), 'denied');
        assert.equal(seen.length, 2);
      },
      { credentials: staticCredentials(old) },
    );
  });
});
