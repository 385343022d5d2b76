// Reads the two XML documents that matter: ListBucketResult and Error. No general parser: known
// elements are looked up by name in a document whose shape S3 fixes, and what does not fit is an
// error, never a guess.
//
//     <ListBucketResult><IsTruncated>true</IsTruncated>
//       <NextContinuationToken>…</NextContinuationToken>
//       <Contents><Key>url%2Dencoded</Key><Size>12</Size>…</Contents>…</ListBucketResult>
//     <Error><Code>NoSuchKey</Code><Message>…</Message>…</Error>

import { StorageError } from '../../base/errors.ts';
import type { ObjectInfo } from '../object-store.ts';

const PAGE_END = '</ListBucketResult>';
const ENTRY = '<Contents>';
const ENTRY_END = '</Contents>';

export interface ListPage {
  readonly objects: readonly ObjectInfo[];
  /** Undefined on the last page. */
  readonly next: string | undefined;
}

/**
 * Decodes a page of ListObjectsV2. What makes no sense is `unavailable`: a proxy may have answered
 * instead.
 */
export function parseListPage(xml: string): ListPage {
  const page = pageOf(xml);
  const urlEncoded = textOf(xml, 'EncodingType') === 'url';
  const objects: ObjectInfo[] = [];
  // What is left when the entries are taken out are the page's own elements.
  let rest = '';
  let at = 0;
  for (;;) {
    const open = page.indexOf(ENTRY, at);
    if (open < 0) break;
    const close = page.indexOf(ENTRY_END, open);
    if (close < 0) throw malformed('an entry does not end');
    rest += page.slice(at, open);
    objects.push(parseEntry(page.slice(open + ENTRY.length, close), urlEncoded));
    at = close + ENTRY_END.length;
  }
  rest += page.slice(at);
  const truncated = textOf(rest, 'IsTruncated');
  if (truncated === 'false') return { objects, next: undefined };
  if (truncated !== 'true') throw malformed('IsTruncated is neither true nor false');
  const next = textOf(rest, 'NextContinuationToken');
  if (next === undefined || next === '') throw malformed('NextContinuationToken is missing');
  return { objects, next };
}

/**
 * What lies in the one ListBucketResult. Searched for from its ends: a pattern that may begin
 * anywhere and go on to the end would take hours for a hostile document of the longest kind.
 */
function pageOf(xml: string): string {
  const open = /<ListBucketResult[\s>]/.exec(xml);
  const whole = xml.trimEnd();
  const from = open === null ? -1 : open.index + open[0].length;
  const end = whole.length - PAGE_END.length;
  if (from < 0 || end < from || !whole.endsWith(PAGE_END)) {
    throw malformed('it is no whole ListBucketResult');
  }
  return whole.slice(from, end);
}

function parseEntry(entry: string, urlEncoded: boolean): ObjectInfo {
  const key = textOf(entry, 'Key');
  const size = textOf(entry, 'Size');
  if (key === undefined || key === '') throw malformed('an entry has no Key');
  if (size === undefined || !/^\d{1,16}$/.test(size)) throw malformed('an entry has no Size');
  const bytes = Number(size);
  if (!Number.isSafeInteger(bytes)) throw malformed('a Size is past 2^53-1');
  return { key: urlEncoded ? decodeUrl(key) : key, bytes };
}

export interface ErrorDocument {
  readonly code: string | undefined;
  readonly message: string | undefined;
}

/** Reads an Error document; a body that is none gives nothing. */
export function parseErrorDocument(xml: string): ErrorDocument {
  if (!/<Error[\s>]/.test(xml)) return { code: undefined, message: undefined };
  try {
    return { code: textOf(xml, 'Code'), message: textOf(xml, 'Message') };
  } catch {
    // The status code has to do: an error within an error would hide the first.
    return { code: undefined, message: undefined };
  }
}

/** The decoded text of the first element of that name, or undefined. */
function textOf(xml: string, name: string): string | undefined {
  const start = xml.indexOf(`<${name}>`);
  if (start < 0) return undefined;
  const from = start + name.length + 2;
  const end = xml.indexOf(`</${name}>`, from);
  if (end < 0) throw malformed(`${name} does not end`);
  return decodeEntities(xml.slice(from, end));
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

const CODE_POINT_MAX = 0x10ffff;

/**
 * XML 1.0 §4.1 and §4.6: the predefined entities and character references; nothing else is known.
 */
export function decodeEntities(text: string): string {
  return text.replace(/&([^;&]{0,10});?/g, (match, body: string) => {
    const known = Object.hasOwn(ENTITIES, body) ? ENTITIES[body] : undefined;
    if (known !== undefined && match.endsWith(';')) return known;
    const reference = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(body);
    if (reference === null || !match.endsWith(';')) throw malformed(`unknown entity ${match}`);
    const [, hex, decimal] = reference;
    const point = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    if (point === 0 || point > CODE_POINT_MAX) throw malformed(`no such character: ${match}`);
    return String.fromCodePoint(point);
  });
}

/** `encoding-type=url` is form encoding: a space may come as '+', and a plus comes as %2B. */
function decodeUrl(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch (error) {
    throw malformed(`key ${text} is not URL-encoded`, error);
  }
}

function malformed(why: string, cause?: unknown): StorageError {
  return new StorageError('unavailable', `the store's listing makes no sense: ${why}`, { cause });
}
