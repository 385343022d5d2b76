// The answers of an S3 server, as undici hands them to us: what the store makes of status, headers
// and body, without a socket and without undici's parser.
//
//   u8 what is asked │ u8 bytes of a part of the body, 0: whole │ heads, a body
//
// A head is a status and lines of `name: value`, up to an empty line. After an interim status comes
// another head, after a final one the body. A `!` behind a status breaks the connection in the end.

import type { Dispatcher } from 'undici';
import { silentLog } from '../../src/base/log.ts';
import type { StorageErrorKind } from '../../src/base/errors.ts';
import { systemClock } from '../../src/base/system.ts';
import type { ObjectStore } from '../../src/objectstore/object-store.ts';
import { staticCredentials } from '../../src/objectstore/s3/credentials.ts';
import { exchange } from '../../src/objectstore/s3/exchange.ts';
import { S3Client } from '../../src/objectstore/s3/s3-client.ts';
import { createS3Store } from '../../src/objectstore/s3/s3-store.ts';
import { expect, type Target } from '../target.ts';

/** Refusals of a store that is asked `what`. */
export const STORE_KINDS: readonly StorageErrorKind[] = [
  'unavailable',
  'invalid',
  'notFound',
  'denied',
  'exists',
  'noSpace',
];

export const STORE_WORDS: readonly string[] = [
  '<Error><Code>',
  'NoSuchKey',
  'ExpiredToken',
  'NoSuchBucket',
  '</Code></Error>',
  'x-amz-checksum-crc32: AAAAAA==',
  'content-range: bytes 0-4/9',
  'content-length: 5',
];

export const STORE_SETTINGS = {
  bucket: 'bucket',
  region: 'here',
  addressing: 'path',
  credentials: staticCredentials({ accessKeyId: 'a', secretAccessKey: 'b' }),
  clock: systemClock,
  log: silentLog,
} as const;

export const LISTING =
  '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/a</Key><Size>3</Size>' +
  '</Contents></ListBucketResult>';

export const ASKS = 7;

/** Checks that what a store takes for an answer is one. */
export async function askStore(store: ObjectStore, what: number): Promise<void> {
  const options = { cause: 'open' } as const;
  if (what === 0) {
    const { bytes, objectBytes } = await store.get('p/a', undefined, options);
    expect(bytes.length === objectBytes, 'the whole of an object');
  } else if (what === 1) {
    const { bytes } = await store.get('p/a', { start: 2, end: 7 }, options);
    expect(bytes.length <= 5, 'no more than what was asked for');
  } else if (what === 2) {
    const { bytes } = await store.get('p/a', { suffix: 6 }, options);
    expect(bytes.length <= 6, 'no more than what was asked for');
  } else if (what === 3) {
    const info = await store.head('p/a', options);
    const sound = info === undefined || (Number.isSafeInteger(info.bytes) && info.bytes >= 0);
    expect(sound, 'a size is a count of bytes');
  } else if (what === 4) {
    for await (const page of store.list('p/', options)) {
      // A page that says that there is more is followed by itself, for ever.
      if (page.length >= 0) break;
    }
  } else if (what === 5) await store.delete('p/a', options);
  else await store.putIfAbsent('p/a', [encode('body')], options);
}

interface Head {
  readonly status: number;
  readonly breaks: boolean;
  readonly headers: Record<string, string | string[]>;
  /** Where its answer goes on. */
  readonly end: number;
}

const HEAD_END = '\n\n';
const INTERIMS_MAX = 4;

function headAt(answer: Buffer, at: number): Head {
  const found = answer.indexOf(HEAD_END, at);
  const end = found < 0 ? answer.length : found;
  const [first = '', ...lines] = answer.toString('latin1', at, end).split('\n');
  const headers: Record<string, string | string[]> = {};
  for (const line of lines) {
    const cut = line.indexOf(':');
    if (cut <= 0) continue;
    const name = line.slice(0, cut).toLowerCase();
    const value = line.slice(cut + 1).trim();
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
    if (Array.isArray(before)) before.push(value);
    else headers[name] = before === undefined ? value : [before, value];
  }
  const status = Number.parseInt(first, 10);
  return {
    // Three digits, as every parser wants them.
    status: status >= 100 && status <= 999 ? status : 200,
    breaks: first.endsWith('!'),
    headers,
    end: Math.min(answer.length, end + HEAD_END.length),
  };
}

/** Calls a handler as undici does. */
class Parrot {
  answer: Buffer = Buffer.alloc(0);
  partBytes = 0;

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    let reason: Error | null = null;
    const controller: Dispatcher.DispatchController = {
      get aborted() {
        return reason !== null;
      },
      paused: false,
      get reason() {
        return reason;
      },
      abort: (error) => void (reason ??= error),
      pause: () => {},
      resume: () => {},
    };
    handler.onRequestStart?.(controller, {});
    let head = headAt(this.answer, 0);
    for (let i = 0; head.status < 200 && i < INTERIMS_MAX; i++) {
      handler.onResponseStart?.(controller, head.status, head.headers);
      head = headAt(this.answer, head.end);
    }
    const { status, breaks, headers } = head;
    handler.onResponseStart?.(controller, status, headers);
    const empty = options.method === 'HEAD' || status === 204 || status === 304;
    const step = this.partBytes === 0 ? this.answer.length : this.partBytes;
    for (let at = head.end; !empty && at < this.answer.length && reason === null; at += step) {
      handler.onResponseData?.(controller, this.answer.subarray(at, at + step));
    }
    if (breaks && reason === null) reason = new Error('other side closed');
    if (reason === null) handler.onResponseEnd?.(controller, {});
    else handler.onResponseError?.(controller, reason);
    return true;
  }
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function seed(what: number, part: number, head: string, body = ''): Uint8Array {
  return Uint8Array.of(what, part, ...encode(`${head}${HEAD_END}${body}`));
}

function answerTarget(): Target {
  const parrot = new Parrot();
  const { signal } = new AbortController();
  // The way of a request to a connection, and its signature, are not what is looked at.
  const client = new S3Client(
    { ...STORE_SETTINGS, endpoint: 'http://127.0.0.1:1' },
    {
      http: { send: (request) => exchange(parrot, request, signal), close: async () => {} },
      sign: async ({ headers }) => ({ ...headers }),
    },
  );
  const store = createS3Store({ ...STORE_SETTINGS, endpoint: 'http://127.0.0.1:1' }, client);
  return {
    name: 's3-answer',
    kinds: STORE_KINDS,
    // So far an announced length is believed.
    memoryBytes: 17 * 1024 * 1024,
    words: [...STORE_WORDS, '!', '\n', '\n\n', '103\n\n', '206\n', '416\n', '412\n', '403\n'],
    seeds: () => [
      seed(0, 0, '200\ncontent-length: 5\nx-amz-checksum-crc32: NhCmhg==', 'hello'),
      seed(0, 2, '103\nlink: x\n\n200\nContent-Length: 5\netag: "x"', 'hello'),
      seed(1, 0, '206\ncontent-length: 5\ncontent-range: bytes 2-6/9', 'hello'),
      seed(1, 1, '200!\ncontent-length: 9', '123456789'),
      seed(2, 0, '206\ncontent-length: 6\ncontent-range: bytes 3-8/9', 'hello!'),
      seed(2, 0, '416\ncontent-length: 0'),
      seed(3, 0, '200\ncontent-length: 77'),
      seed(4, 9, '200', LISTING),
      seed(5, 0, '204'),
      seed(6, 0, '412', '<Error><Code>x</Code></Error>'),
      seed(6, 0, '503\nretry-after: 2', '<Error><Code>SlowDown</Code></Error>'),
      seed(0, 0, '400', '<Error><Code>ExpiredToken</Code></Error>'),
    ],
    async run(input) {
      parrot.answer = Buffer.from(input.buffer, input.byteOffset + Math.min(2, input.length));
      parrot.partBytes = input[1] ?? 0;
      await askStore(store, (input[0] ?? 0) % ASKS);
    },
  };
}

export const targets: readonly Target[] = [answerTarget()];
