// An ObjectStore in an S3 bucket: PUT with If-None-Match, ranged GET, HEAD, ListObjectsV2, DELETE.
//
// The promises of object-store.ts, and how they are kept:
//   1. Atomic put-if-absent is the server's `If-None-Match: *`: 412 is `exists`, 409 (two at once)
//      may be tried again. A put whose reply was lost may have happened: retry.ts tells its own
//      object from others'.
//   2. A 200 means durable: S3 answers when the object is stored redundantly.
//   3. S3 and its kin are strongly consistent.
//   4. Lengths are checked against Content-Length and Content-Range. Uploads carry a CRC32 (and
//      over http a signed SHA-256) that the server checks; where it keeps the CRC32, whole objects
//      are checked on read.

import { crc32 } from 'node:zlib';
import { isStorageError, StorageError } from '../../base/errors.ts';
import { checkKey, checkListPrefix, checkRange, LIST_PAGE_KEYS, resolveRange } from '../keys.ts';
import type {
  ByteRange,
  GetResult,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  RequestOptions,
} from '../object-store.ts';
import { withPrefix } from '../prefix.ts';
import { errorCodeOf } from './errors.ts';
import { type HttpResponse, lengthOf } from './exchange.ts';
import { S3Client, type S3ClientSettings } from './s3-client.ts';
import { parseListPage } from './xml.ts';

/** A whole object that is longer is none of ours: it is refused before memory is taken for it. */
const OBJECT_BYTES_MAX = 1024 * 1024 * 1024;

/**
 * A full page: 1000 keys of 1024 bytes, each byte three times as long when encoded, and the markup
 * around.
 */
const LIST_PAGE_BYTES_MAX = 4 * 1024 * 1024;

/** A successful PUT, HEAD or DELETE says nothing that we read. */
const EMPTY_ANSWER_BYTES_MAX = 64 * 1024;

export interface S3StoreSettings extends S3ClientSettings {
  /** Put before every key, with a '/' between. */
  readonly prefix?: string;
  /** Keys per page of a listing, at most 1000. */
  readonly pageKeys?: number;
  /** `none` is for servers that refuse the x-amz-checksum headers. */
  readonly checksum?: 'crc32' | 'none';
}

export function createS3Store(
  settings: S3StoreSettings,
  client = new S3Client(settings),
): ObjectStore {
  return withPrefix(new S3Store(settings, client), settings.prefix ?? '');
}

/** Makes the bucket; one that is there already is fine. */
export async function createBucketIfMissing(settings: S3ClientSettings): Promise<void> {
  const client = new S3Client(settings);
  try {
    const response = await client.request(
      {
        method: 'PUT',
        key: undefined,
        accept: 409,
        responseBytesMax: EMPTY_ANSWER_BYTES_MAX,
      },
      { cause: 'admin' },
    );
    const code = response.status === 409 ? errorCodeOf(response) : undefined;
    if (response.status === 409 && code !== 'BucketAlreadyOwnedByYou') {
      throw new StorageError('invalid', `cannot create bucket ${settings.bucket}: ${code}`);
    }
  } finally {
    await client.close();
  }
}

class S3Store implements ObjectStore {
  readonly #client: S3Client;
  readonly #pageKeys: number;
  readonly #checksum: boolean;

  constructor(settings: S3StoreSettings, client: S3Client) {
    this.#client = client;
    this.#pageKeys = settings.pageKeys ?? LIST_PAGE_KEYS;
    this.#checksum = settings.checksum !== 'none';
  }

  async putIfAbsent(
    key: string,
    body: readonly Uint8Array[],
    options: RequestOptions,
  ): Promise<void> {
    checkKey(key);
    const headers = {
      'if-none-match': '*',
      'content-type': 'application/octet-stream',
      ...(this.#checksum ? { 'x-amz-checksum-crc32': crc32Of(body) } : {}),
    };
    await this.#client.request(
      { method: 'PUT', key, headers, body, responseBytesMax: EMPTY_ANSWER_BYTES_MAX },
      options,
    );
  }

  async get(
    key: string,
    range: ByteRange | undefined,
    options: RequestOptions,
  ): Promise<GetResult> {
    checkKey(key);
    if (range === undefined) return await this.#getWhole(key, options);
    checkRange(key, range);
    if (!('suffix' in range)) {
      const headers = { range: `bytes=${range.start}-${range.end - 1}` };
      const responseBytesMax = range.end - range.start;
      const response = await this.#client.request(
        { method: 'GET', key, headers, responseBytesMax },
        options,
      );
      return rangeResult(key, range, response);
    }
    const response = await this.#client.request(
      {
        method: 'GET',
        key,
        headers: { range: `bytes=-${range.suffix}` },
        accept: 416,
        responseBytesMax: range.suffix,
      },
      options,
    );
    return response.status === 416
      ? await this.#emptySuffix(key, options)
      : rangeResult(key, range, response);
  }

  /** An empty object has no suffix, so servers answer 416; an object with bytes always has one. */
  async #emptySuffix(key: string, options: RequestOptions): Promise<GetResult> {
    const info = await this.head(key, options);
    if (info === undefined) throw new StorageError('notFound', `no object ${key}`);
    if (info.bytes === 0) return { bytes: new Uint8Array(0), objectBytes: 0 };
    throw new StorageError('invalid', `the store gives no suffix of ${key}`);
  }

  async #getWhole(key: string, options: RequestOptions): Promise<GetResult> {
    const response = await this.#client.request(
      {
        method: 'GET',
        key,
        headers: this.#checksum ? { 'x-amz-checksum-mode': 'ENABLED' } : {},
        responseBytesMax: OBJECT_BYTES_MAX,
      },
      options,
    );
    if (response.status !== 200)
      throw badAnswer(key, `status ${response.status} for a whole object`);
    checkChecksum(key, response);
    return wholeResult(key, undefined, response);
  }

  async head(key: string, options: RequestOptions): Promise<ObjectInfo | undefined> {
    checkKey(key);
    try {
      const response = await this.#client.request(
        { method: 'HEAD', key, responseBytesMax: EMPTY_ANSWER_BYTES_MAX },
        options,
      );
      return { key, bytes: contentLength(key, response) };
    } catch (error) {
      if (isStorageError(error, 'notFound')) return undefined;
      throw error;
    }
  }

  async *list(prefix: string, options: ListOptions): AsyncGenerator<readonly ObjectInfo[]> {
    checkListPrefix(prefix);
    const query: Record<string, string> = {
      'list-type': '2',
      'encoding-type': 'url',
      'max-keys': String(this.#pageKeys),
      prefix,
    };
    const { startAfter } = options;
    if (startAfter !== undefined && startAfter !== '') query['start-after'] = startAfter;
    for (;;) {
      const response = await this.#client.request(
        { method: 'GET', key: undefined, query, responseBytesMax: LIST_PAGE_BYTES_MAX },
        options,
      );
      const page = parseListPage(Buffer.from(response.body).toString('utf8'));
      checkOrder(page.objects, prefix);
      yield page.objects;
      if (page.next === undefined) return;
      query['continuation-token'] = page.next;
    }
  }

  async delete(key: string, options: RequestOptions): Promise<void> {
    checkKey(key);
    try {
      await this.#client.request(
        { method: 'DELETE', key, responseBytesMax: EMPTY_ANSWER_BYTES_MAX },
        options,
      );
    } catch (error) {
      // Some servers answer 404 for what is gone already.
      if (!isStorageError(error, 'notFound')) throw error;
    }
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}

/** Recovery relies on order: a server that lists otherwise cannot be used. */
function checkOrder(objects: readonly ObjectInfo[], prefix: string): void {
  let previous = '';
  for (const { key } of objects) {
    if (key <= previous || !key.startsWith(prefix)) {
      throw new StorageError('invalid', `the store lists ${key} after ${previous}, out of order`);
    }
    previous = key;
  }
}

const CONTENT_RANGE = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/;

/** Checks that the answer is exactly the range that was asked for, as far as the object reaches. */
function rangeResult(key: string, range: ByteRange, response: HttpResponse): GetResult {
  if (response.status === 200) return wholeResult(key, range, response);
  const header = response.headers['content-range'];
  const match = typeof header === 'string' ? CONTENT_RANGE.exec(header) : null;
  if (response.status !== 206 || match === null) {
    throw badAnswer(key, `status ${response.status}, Content-Range ${String(header)}`);
  }
  const objectBytes = Number(match[3]);
  const wanted = resolveRange(key, range, objectBytes);
  const came = { start: Number(match[1]), end: Number(match[2]) + 1 };
  if (came.start !== wanted.start || came.end !== wanted.end) {
    throw badAnswer(key, `bytes ${wanted.start} to ${wanted.end} asked for, ${match[0]} came`);
  }
  if (response.body.length !== wanted.end - wanted.start) {
    throw badAnswer(key, `${response.body.length} bytes came for ${match[0]}`);
  }
  return { bytes: response.body, objectBytes };
}

/** A server may answer a range with the whole object: that is as good, when it fits. */
function wholeResult(key: string, range: ByteRange | undefined, response: HttpResponse): GetResult {
  const objectBytes = contentLength(key, response);
  if (response.body.length !== objectBytes) {
    throw badAnswer(key, `${response.body.length} of ${objectBytes} bytes came`);
  }
  const { start, end } = resolveRange(key, range, objectBytes);
  return { bytes: response.body.subarray(start, end), objectBytes };
}

function contentLength(key: string, response: HttpResponse): number {
  const header = response.headers['content-length'];
  const bytes = typeof header === 'string' ? lengthOf(header) : undefined;
  if (bytes === undefined) throw badAnswer(key, 'Content-Length is missing');
  return bytes;
}

function checkChecksum(key: string, response: HttpResponse): void {
  const expected = response.headers['x-amz-checksum-crc32'];
  // With a '-' it is one of a multipart upload's parts, not of the bytes.
  if (typeof expected !== 'string' || expected.includes('-')) return;
  const actual = crc32Of([response.body]);
  if (actual !== expected) throw badAnswer(key, `CRC32 ${actual}, the store says ${expected}`);
}

/** Base64 of the big-endian CRC32, as S3 writes it. */
function crc32Of(parts: readonly Uint8Array[]): string {
  let crc = 0;
  for (const part of parts) crc = crc32(part, crc);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString('base64');
}

/**
 * What came is not what HTTP and S3 promise: a proxy or the network is at fault, so another try may
 * do.
 */
function badAnswer(key: string, why: string): StorageError {
  return new StorageError('unavailable', `get of ${key}: bad answer: ${why}`);
}
