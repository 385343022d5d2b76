// The documents of an S3 server, or of whoever answers in its place.

import { parseErrorDocument, parseListPage } from '../../src/objectstore/s3/xml.ts';
import { responseError } from '../../src/objectstore/s3/errors.ts';
import { expect, type Target } from '../target.ts';

const LIST =
  '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/' +
  '2006-03-01/"><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>' +
  '<NextContinuationToken>1a&amp;b==</NextContinuationToken><Contents><Key>p%2Flog%2F1</Key>' +
  '<Size>12</Size><ETag>&quot;ab&#34;</ETag></Contents><Contents><Key>p/2</Key><Size>0</Size>' +
  '</Contents></ListBucketResult>';
const LAST =
  '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a&#x41;</Key>' +
  '<Size>9007199254740991</Size></Contents></ListBucketResult>';
const ERROR = '<Error><Code>NoSuchKey</Code><Message>It &lt;is&gt; gone</Message></Error>';

const WORDS = [
  '<ListBucketResult>',
  '</ListBucketResult>',
  '<Contents>',
  '</Contents>',
  '<Key>',
  '</Key>',
  '<Size>',
  '</Size>',
  '<IsTruncated>',
  'true',
  'false',
  '</IsTruncated>',
  '&amp;',
  '&#x0;',
  '&#1114112;',
  '&',
  ';',
  '%',
  '%ff',
  '+',
  '<EncodingType>url</EncodingType>',
  '<Error ',
  '<NextContinuationToken>',
  '</NextContinuationToken>',
  '<Code>',
  '</Code>',
  '\ufffd',
  ' ',
  '__proto__',
  'constructor',
  'SlowDown',
  'ExpiredToken',
  '<![CDATA[',
  ']]>',
  '<!--',
  '-->',
];

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function runList(input: Uint8Array): void {
  const { objects, next } = parseListPage(Buffer.from(input).toString('utf8'));
  expect(next !== '', 'a page has a next one, or none');
  for (const { key, bytes } of objects) {
    expect(key !== '' && Number.isSafeInteger(bytes) && bytes >= 0, 'an object has key and size');
  }
}

function runError(input: Uint8Array): void {
  const body = input.subarray(2);
  const { code } = parseErrorDocument(Buffer.from(body).toString('utf8'));
  expect(code === undefined || typeof code === 'string', 'a code is text');
  const status = 100 + (((input[0] ?? 0) * 256 + (input[1] ?? 0)) % 500);
  const request = { method: 'GET', bucket: 'bucket', key: 'key', region: 'here', nowUnixMs: 0 };
  const headers = { 'retry-after': Buffer.from(body.subarray(0, 40)).toString('latin1') };
  const error = responseError(request, { status, headers, body });
  expect(error.message.length > 0, 'an error says what happened');
  const { retryAfterMs } = error;
  const sound = retryAfterMs === undefined || (Number.isFinite(retryAfterMs) && retryAfterMs >= 0);
  expect(sound, 'a wait is a count of milliseconds');
}

export const targets: readonly Target[] = [
  {
    name: 's3-list',
    kinds: ['unavailable'],
    seeds: () => [encode(LIST), encode(LAST)],
    words: WORDS,
    // Long enough for work that grows with the square to be seen.
    bytesMax: 512 * 1024,
    memoryBytes: 16 * 1024 * 1024,
    run: runList,
  },
  {
    name: 's3-error',
    kinds: [],
    seeds: () => [
      Uint8Array.of(1, 48, ...encode(ERROR)),
      Uint8Array.of(1, 147, ...encode('busy')),
      Uint8Array.of(1, 147, ...encode('120')),
      Uint8Array.of(1, 147, ...encode('Fri, 31 Dec 2027 23:59:59 GMT')),
    ],
    words: WORDS,
    run: runError,
  },
];
