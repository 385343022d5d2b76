// What the S3 store makes of a server that misbehaves in one way at a time.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { crc32 } from 'node:zlib';
import { bytesOf, listAll, rejectsWith } from '../testing-store.ts';
import { fail, type Handler, hang, reply, withServer } from './testing-server.ts';

const options = { cause: 'admin' } as const;

/** Promises ten bytes, sends four, and cuts the connection. */
const shortBody: Handler = (_request, response) => {
  response.writeHead(200, { 'content-length': '10' });
  response.write('0123', () => response.destroy());
};

const reset: Handler = (request) => request.socket.resetAndDestroy();

const hangInBody: Handler = (_request, response) => {
  response.writeHead(200, { 'content-length': '10' });
  response.write('0123');
};

describe('a connection that fails', () => {
  it('is unavailable when it is reset, before the answer or within', async () => {
    await withServer([reset], async ({ store }) => {
      await rejectsWith(store.putIfAbsent('k', [bytesOf('x')], options), 'unavailable');
      await rejectsWith(store.get('k', undefined, options), 'unavailable');
      await rejectsWith(store.head('k', options), 'unavailable');
      await rejectsWith(listAll(store, ''), 'unavailable');
    });
    await withServer([shortBody], async ({ store }) => {
      await rejectsWith(store.get('k', undefined, options), 'unavailable');
      await rejectsWith(store.get('k', { suffix: 10 }, options), 'unavailable');
      await rejectsWith(listAll(store, ''), 'unavailable');
    });
  });

  it('is unavailable when nobody listens', async () => {
    await withServer(
      [reset],
      async ({ store }) => {
        await rejectsWith(store.get('k', undefined, options), 'unavailable');
      },
      { endpoint: 'http://127.0.0.1:1' },
    );
  });

  it('is tried again, and then succeeds', async () => {
    const first = [reset, shortBody, fail(503, 'SlowDown'), fail(500, 'InternalError')];
    await withServer([...first, reply(200, 'whole')], async ({ retrying, seen }) => {
      const { bytes } = await retrying.get('k', undefined, options);
      assert.equal(Buffer.from(bytes).toString(), 'whole');
      assert.equal(seen.length, 5);
    });
  });

  it('sends the whole body again, in several parts too', async () => {
    const bodies: Buffer[] = [];
    const note =
      (handler: Handler): Handler =>
      (request, response, body) => {
        bodies.push(body);
        assert.equal(request.headers['content-length'], '6');
        assert.equal(request.headers['if-none-match'], '*');
        handler(request, response, body);
      };
    await withServer([note(reset), note(reply(200))], async ({ retrying }) => {
      await retrying.putIfAbsent('k', [bytesOf('ab'), bytesOf(''), bytesOf('cdef')], options);
    });
    assert.deepEqual(bodies.map(String), ['abcdef', 'abcdef']);
  });
});

describe('a server that hangs', () => {
  // What is given up must free its connection, or nothing else would get through.
  const oneConnection = { connectionsMax: 1 };

  for (const [where, handler] of [
    ['before it answers', hang],
    ['within its answer', hangInBody],
  ] as const) {
    it(`${where} is unavailable at the deadline, and tried again`, async () => {
      await withServer(
        [handler, reply(200, 'late')],
        async (bench) => {
          const pending = bench.retrying.get('k', undefined, options);
          await bench.arrival(1);
          bench.clock.advance(999);
          assert.equal(bench.seen.length, 1);
          bench.clock.advance(1);
          assert.equal(Buffer.from((await pending).bytes).toString(), 'late');
        },
        oneConnection,
      );
    });

    it(`${where} is given up when the caller says so`, async () => {
      await withServer(
        [handler, reply(200, 'next')],
        async (bench) => {
          const controller = new AbortController();
          const signal = controller.signal;
          const pending = bench.store.get('k', undefined, { ...options, signal });
          await bench.arrival(1);
          controller.abort();
          await rejectsWith(pending, 'aborted');
          const { bytes } = await bench.store.get('k', undefined, options);
          assert.equal(Buffer.from(bytes).toString(), 'next');
        },
        oneConnection,
      );
    });
  }

  it('holds up as many requests as connections; the others can be given up', async () => {
    await withServer(
      [hang],
      async ({ store, clock, seen, arrival }) => {
        const controller = new AbortController();
        const first = store.head('a', options);
        await arrival(1);
        const second = store.head('b', { ...options, signal: controller.signal });
        await clock.yieldTurn();
        controller.abort();
        await rejectsWith(second, 'aborted');
        clock.advance(1000);
        await rejectsWith(first, 'unavailable');
        assert.deepEqual(seen, ['HEAD /bucket/a']);
      },
      { connectionsMax: 1 },
    );
  });
});

describe('a put in doubt', () => {
  it('has succeeded when the object that is there is our own', async () => {
    // The first put happens, but its reply is lost; the second finds the key taken; the read shows
    // why.
    let stored: Buffer = Buffer.alloc(0);
    const takeAndReset: Handler = (request, _response, body) => {
      stored = body;
      request.socket.resetAndDestroy();
    };
    const give: Handler = (request, response, body) => {
      const range = `bytes 0-${stored.length - 1}/${stored.length}`;
      reply(206, stored, { 'content-range': range })(request, response, body);
    };
    const script = [takeAndReset, fail(412, 'PreconditionFailed'), give];
    await withServer(script, async ({ retrying, seen }) => {
      await retrying.putIfAbsent('k', [bytesOf('mine')], options);
      assert.deepEqual(seen, ['PUT /bucket/k', 'PUT /bucket/k', 'GET /bucket/k']);
    });
  });

  it('has failed with exists when it is somebody else’s', async () => {
    const give = reply(206, 'hers', { 'content-range': 'bytes 0-3/4' });
    const script = [reset, fail(412, 'PreconditionFailed'), give];
    await withServer(script, async ({ retrying }) => {
      await rejectsWith(retrying.putIfAbsent('k', [bytesOf('mine')], options), 'exists');
    });
  });

  it('is tried again after a conflict of two conditional puts', async () => {
    const script = [fail(409, 'ConditionalRequestConflict'), reply(200)];
    await withServer(script, async ({ retrying, seen }) => {
      await retrying.putIfAbsent('k', [bytesOf('mine')], options);
      assert.equal(seen.length, 2);
    });
  });
});

describe('an answer that is not what was asked for', () => {
  const range = { start: 2, end: 6 };
  const bad: readonly (readonly [string, Handler])[] = [
    ['without Content-Range', reply(206, 'abcd')],
    ['of another range', reply(206, 'abcd', { 'content-range': 'bytes 0-3/10' })],
    ['that begins elsewhere', reply(206, 'abcd', { 'content-range': 'bytes 1-5/10' })],
    ['that is too short', reply(206, 'abc', { 'content-range': 'bytes 2-4/10' })],
    ['whose body does not fit', reply(206, 'abc', { 'content-range': 'bytes 2-5/10' })],
    ['that is too long', reply(206, 'abcdef', { 'content-range': 'bytes 2-7/10' })],
    ['of the whole, which is longer', reply(200, '0123456789')],
    ['with a senseless Content-Range', reply(206, 'abcd', { 'content-range': 'bytes 2-5/*' })],
  ];
  for (const [what, handler] of bad) {
    it(`${what} is unavailable`, async () => {
      await withServer([handler], async ({ store }) => {
        await rejectsWith(store.get('k', range, options), 'unavailable');
      });
    });
  }

  it('may be the whole of a small object', async () => {
    await withServer([reply(200, '0123')], async ({ store }) => {
      const { bytes, objectBytes } = await store.get('k', range, options);
      assert.deepEqual([Buffer.from(bytes).toString(), objectBytes], ['23', 4]);
      const suffix = await store.get('k', { suffix: 4 }, options);
      assert.equal(Buffer.from(suffix.bytes).toString(), '0123');
    });
  });

  it('is found out by the checksum that the store keeps', async () => {
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32('whole'));
    const header = { 'x-amz-checksum-crc32': sum.toString('base64') };
    await withServer([reply(200, 'whale', header), reply(200, 'whole', header)], async (bench) => {
      await rejectsWith(bench.store.get('k', undefined, options), 'unavailable');
      const { bytes } = await bench.store.get('k', undefined, options);
      assert.equal(Buffer.from(bytes).toString(), 'whole');
    });
  });

  it('is no empty suffix because the server refuses suffixes', async () => {
    const head = reply(200, '', { 'content-length': '10' });
    await withServer([fail(416, 'InvalidRange'), head], async ({ store }) => {
      await rejectsWith(store.get('k', { suffix: 4 }, options), 'invalid');
    });
  });

  it('is no listing when it is out of order, cut short or not XML', async () => {
    const entry = (key: string): string => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`;
    const listing = (inner: string): string =>
      `<ListBucketResult>${inner}<IsTruncated>false</IsTruncated></ListBucketResult>`;
    await withServer([reply(200, listing(entry('b') + entry('a')))], async ({ store }) => {
      await rejectsWith(listAll(store, ''), 'invalid');
    });
    const whole = listing(entry('a'));
    await withServer([reply(200, whole.slice(0, -5))], async ({ store }) => {
      await rejectsWith(listAll(store, ''), 'unavailable');
    });
    await withServer([reply(200, '{}')], async ({ store }) => {
      await rejectsWith(listAll(store, ''), 'unavailable');
    });
    await withServer([reply(200, whole)], async ({ store }) => {
      assert.deepEqual(await listAll(store, ''), [[{ key: 'a', bytes: 1 }]]);
    });
  });
});
