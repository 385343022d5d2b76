// Where a store is, as people write it: `file:DIR`, `s3://bucket/prefix`, `memory:`.

import { messageOf, StorageError } from '../base/errors.ts';
import { checkKey } from './keys.ts';

export type StoreLocation =
  | { readonly kind: 'memory' }
  | { readonly kind: 'file'; readonly directory: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string };

const FORMS = 'file:DIR, s3://bucket/prefix or memory:';
const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/** Throws `invalid` with a message that says what is wrong with `url`. */
export function parseStoreUrl(url: string): StoreLocation {
  if (url === 'memory:') return { kind: 'memory' };
  if (url.startsWith('file:')) return parseFileUrl(url);
  if (url.startsWith('s3://')) return parseS3Url(url);
  if (url.startsWith('memory:')) throw invalid(url, 'nothing may follow memory:');
  if (url.startsWith('s3:')) throw invalid(url, 'write s3://bucket/prefix');
  throw invalid(url, `expected ${FORMS}`);
}

function parseFileUrl(url: string): StoreLocation {
  const rest = url.slice('file:'.length);
  if (!rest.startsWith('//')) {
    if (rest === '') throw invalid(url, 'the directory is missing after file:');
    return { kind: 'file', directory: rest };
  }
  const directory = rest.slice('//'.length);
  if (!directory.startsWith('/')) {
    throw invalid(url, 'a file URL names no host: write file:DIR or file:///DIR');
  }
  return { kind: 'file', directory };
}

function parseS3Url(url: string): StoreLocation {
  const rest = url.slice('s3://'.length);
  if (/[?#@]/.test(rest)) {
    throw invalid(url, 'credentials, queries and fragments have no place in it');
  }
  const slash = rest.indexOf('/');
  const bucket = slash < 0 ? rest : rest.slice(0, slash);
  const prefix = slash < 0 ? '' : rest.slice(slash + 1).replace(/\/$/, '');
  if (bucket === '') throw invalid(url, 'the bucket is missing');
  if (!BUCKET_NAME.test(bucket) || bucket.includes('..')) {
    throw invalid(
      url,
      `${JSON.stringify(bucket)} is no bucket name (3 to 63 of a-z, 0-9, '-' and '.')`,
    );
  }
  if (prefix !== '') {
    try {
      checkKey(prefix);
    } catch (error) {
      throw invalid(url, messageOf(error));
    }
  }
  return { kind: 's3', bucket, prefix };
}

function invalid(url: string, why: string): StorageError {
  // Somebody may have put credentials there: they must not end up in a log.
  const slashes = url.indexOf('//');
  const at = url.lastIndexOf('@');
  const secret = slashes >= 0 && at > slashes;
  const shown = secret ? `${url.slice(0, slashes)}//***${url.slice(at)}` : url;
  return new StorageError('invalid', `bad store URL ${JSON.stringify(shown)}: ${why}`);
}
