// The pieces of the S3 store that need no server: addresses, signatures, credentials, XML.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isStorageError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { rejectsWith } from '../testing-store.ts';
import { createManualClock } from '../manual-clock.ts';
import { bucketAddress } from './address.ts';
import { awsCredentials, cachedCredentials, type Credentials } from './credentials.ts';
import { lengthOf } from './exchange.ts';
import { createSigner, encodeStrictly } from './signer.ts';
import { decodeEntities, parseErrorDocument, parseListPage } from './xml.ts';

describe('bucket addresses', () => {
  it('put the bucket into the path or into the host', () => {
    const region = 'eu-west-1';
    assert.deepEqual(bucketAddress('b', { region, addressing: 'virtual' }), {
      origin: 'https://b.s3.eu-west-1.amazonaws.com',
      basePath: '',
    });
    assert.deepEqual(bucketAddress('b', { region: 'cn-north-1', addressing: 'path' }), {
      origin: 'https://s3.cn-north-1.amazonaws.com.cn',
      basePath: '/b',
    });
    const endpoint = 'http://localhost:9000/';
    assert.deepEqual(bucketAddress('b', { region, endpoint, addressing: 'virtual' }), {
      origin: 'http://b.localhost:9000',
      basePath: '',
    });
  });

  it('are refused when the endpoint is no server', () => {
    const bad = ['', 'localhost:9000', 'ftp://x', 'http://x/path', 'http://u:p@x', 'http://x?y'];
    for (const endpoint of bad) {
      assert.throws(
        () => bucketAddress('b', { region: 'r', endpoint, addressing: 'path' }),
        (error) => isStorageError(error, 'invalid') && !error.message.includes('u:p'),
        endpoint,
      );
    }
    for (const endpoint of ['http://127.0.0.1:9000', 'http://[::1]:9000']) {
      assert.throws(() => bucketAddress('b', { region: 'r', endpoint, addressing: 'virtual' }));
    }
  });
});

describe('the length of an answer', () => {
  it('is digits, and exact', () => {
    assert.equal(lengthOf('0'), 0);
    assert.equal(lengthOf('9007199254740991'), Number.MAX_SAFE_INTEGER);
    for (const bad of ['', '-6', '+1', '1.5', '1e3', '0x10', ' 1', '9007199254740992']) {
      assert.equal(lengthOf(bad), undefined, bad);
    }
  });
});

describe('signatures', () => {
  // Amazon S3 API Reference, "Signature calculations: GET object" (the published example).
  it('match the published example', async () => {
    const sign = createSigner('us-east-1');
    const headers = await sign(
      {
        method: 'GET',
        url: 'http://examplebucket.s3.amazonaws.com/?lifecycle=',
        headers: {},
        body: [],
      },
      {
        accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
        secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
      },
      Date.UTC(2013, 4, 24),
    );
    assert.match(
      headers.authorization ?? '',
      /Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543$/,
    );
  });

  it('sign the payload over http and leave it to TLS over https', async () => {
    const sign = createSigner('r');
    const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
    const body = [new Uint8Array([1]), new Uint8Array([2, 3])];
    const hash = async (url: string): Promise<string | undefined> =>
      (await sign({ method: 'PUT', url, headers: {}, body }, credentials, 0))[
        'x-amz-content-sha256'
      ];
    assert.equal(
      await hash('http://x/k'),
      '039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81',
    );
    assert.equal(await hash('https://x/k'), 'UNSIGNED-PAYLOAD');
  });

  it('encode all but unreserved characters', () => {
    assert.equal(encodeStrictly("a b+c/d!'()*~", true), 'a%20b%2Bc/d%21%27%28%29%2A~');
    assert.equal(encodeStrictly('a/b', false), 'a%2Fb');
  });
});

describe('credentials', () => {
  const MINUTE_MS = 60_000;
  const clock = createManualClock();

  it('come from the environment without further ado', async () => {
    const environment = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
    const deps = { clock, log: silentLog };
    assert.deepEqual(await awsCredentials(environment, deps).get(), {
      accessKeyId: 'a',
      secretAccessKey: 'b',
    });
    const withToken = { ...environment, AWS_SESSION_TOKEN: 't' };
    assert.equal((await awsCredentials(withToken, deps).get()).sessionToken, 't');
  });

  function counted(lifeMs: number) {
    const moving = createManualClock();
    const state = { loads: 0, failure: undefined as Error | undefined };
    const provider = cachedCredentials(
      async (): Promise<Credentials> => {
        state.loads += 1;
        await moving.yieldTurn();
        if (state.failure !== undefined) throw state.failure;
        const expiresAtMs = moving.unixMs() + lifeMs;
        return { accessKeyId: `k${state.loads}`, secretAccessKey: 's', expiresAtMs };
      },
      { clock: moving, log: silentLog },
    );
    return { moving, state, provider };
  }

  it('are loaded once, and again five minutes before they expire', async () => {
    const { moving, state, provider } = counted(60 * MINUTE_MS);
    await Promise.all([provider.get(), provider.get(), provider.get()]);
    assert.equal(state.loads, 1);
    moving.advance(54 * MINUTE_MS);
    assert.equal((await provider.get()).accessKeyId, 'k1');
    moving.advance(MINUTE_MS);
    const refreshed = await Promise.all([provider.get(), provider.get()]);
    assert.deepEqual(
      refreshed.map((credentials) => credentials.accessKeyId),
      ['k2', 'k2'],
    );
  });

  it('stay in use when the refresh fails, until they expire', async () => {
    const { moving, state, provider } = counted(60 * MINUTE_MS);
    await provider.get();
    state.failure = new Error('source is away');
    moving.advance(56 * MINUTE_MS);
    assert.equal((await provider.get()).accessKeyId, 'k1');
    moving.advance(5 * MINUTE_MS);
    await rejectsWith(Promise.resolve(provider.get()), 'unavailable');
    state.failure = undefined;
    assert.equal((await provider.get()).accessKeyId, 'k4');
  });

  it('are denied, with advice, when there are none', async () => {
    const { state, provider } = counted(MINUTE_MS);
    state.failure = new Error('none found');
    await assert.rejects(
      Promise.resolve(provider.get()),
      (error) => isStorageError(error, 'denied') && /AWS_ACCESS_KEY_ID/.test(error.message),
    );
  });

  it('are loaded anew when a store rejects them, not when it rejects older ones', async () => {
    const { state, provider } = counted(60 * MINUTE_MS);
    const first = await provider.get();
    provider.reject(first);
    const second = await provider.get();
    provider.reject(first);
    assert.equal(await provider.get(), second);
    assert.equal(state.loads, 2);
  });
});

describe('listings in XML', () => {
  const escape = (text: string): string =>
    text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

  it('are read with entities and URL encoding, and with neither', () => {
    const xml = (key: string, extra: string): string =>
      `<?xml version="1.0"?><ListBucketResult xmlns="x">${extra}<Contents><Key>${key}</Key>` +
      '<Size>7</Size></Contents><IsTruncated>false</IsTruncated></ListBucketResult>';
    const url = '<EncodingType>url</EncodingType>';
    assert.equal(parseListPage(xml('a%26%2Bb+c%20d', url)).objects[0]?.key, 'a&+b c d');
    assert.equal(parseListPage(xml('a&amp;&#x2B;&#98;%20', '')).objects[0]?.key, 'a&+b%20');
  });

  it('survive the round trip of any key, size and token', () => {
    const objects = fc.array(
      fc.record(
        { key: fc.string({ minLength: 1 }), bytes: fc.maxSafeNat() },
        { noNullPrototype: true },
      ),
    );
    fc.assert(
      fc.property(objects, fc.option(fc.string({ minLength: 1 })), (entries, token) => {
        const contents = entries
          .map(
            ({ key, bytes }) =>
              `<Contents><Key>${escape(key)}</Key><Size>${bytes}</Size></Contents>`,
          )
          .join('');
        const next =
          token === null
            ? '<IsTruncated>false</IsTruncated>'
            : '<IsTruncated>true</IsTruncated>' +
              `<NextContinuationToken>${escape(token)}</NextContinuationToken>`;
        const page = parseListPage(`<ListBucketResult>${next}${contents}</ListBucketResult>`);
        assert.deepEqual(page, { objects: entries, next: token ?? undefined });
      }),
    );
  });

  it('are refused in time that grows with their length, not with its square', () => {
    // The longest answer that is read has four million characters: with the square, hours.
    for (const text of ['<ListBucketResult>', '<Contents>', '<Contents></Contents']) {
      const hostile = `<ListBucketResult>${text.repeat(200_000)}`;
      for (const xml of [hostile, `${hostile}</ListBucketResult>`]) {
        assert.throws(
          () => parseListPage(xml),
          (error) => isStorageError(error, 'unavailable'),
        );
      }
    }
  });

  it('fail as unavailable when they are cut or garbled, and never otherwise', () => {
    const whole =
      '<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>' +
      '<NextContinuationToken>t&amp;</NextContinuationToken><Contents><Key>k%20</Key>' +
      '<Size>12</Size></Contents></ListBucketResult>';
    for (let length = 0; length < whole.length; length++) {
      assert.throws(
        () => parseListPage(whole.slice(0, length)),
        (error) => isStorageError(error, 'unavailable'),
      );
    }
    fc.assert(
      fc.property(fc.nat(whole.length), fc.nat(20), fc.string(), (at, cut, put) => {
        const garbled = whole.slice(0, at) + put + whole.slice(at + cut);
        try {
          parseListPage(garbled);
        } catch (error) {
          assert.ok(isStorageError(error, 'unavailable'), String(error));
        }
        parseErrorDocument(garbled);
      }),
    );
  });

  it('refuse entities that XML does not know', () => {
    for (const text of ['&nbsp;', '&', '&amp', '&#0;', '&#x110000;', '&#;', '&constructor;']) {
      assert.throws(
        () => decodeEntities(text),
        (error) => isStorageError(error, 'unavailable'),
        text,
      );
    }
  });
});
