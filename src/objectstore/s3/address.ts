// Where a bucket's requests go: the origin to connect to and the path before each key.
//
//     path     https://s3.eu-west-1.amazonaws.com/bucket/key     any server
//     virtual  https://bucket.s3.eu-west-1.amazonaws.com/key     what AWS wants

import { StorageError } from '../../base/errors.ts';

export interface S3Addressing {
  /** Scheme, host and port of the server; AWS's own for the region when it is missing. */
  readonly endpoint?: string;
  readonly region: string;
  readonly addressing: 'path' | 'virtual';
}

export interface BucketAddress {
  /** `scheme://host[:port]`, as URL.origin gives it. */
  readonly origin: string;
  /** What comes before '/key': `/bucket`, or nothing. */
  readonly basePath: string;
}

/**
 * Throws `invalid` when the endpoint is no URL of a server, or cannot be used with virtual
 * addressing.
 */
export function bucketAddress(bucket: string, settings: S3Addressing): BucketAddress {
  const endpoint = settings.endpoint ?? awsEndpoint(settings.region);
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new StorageError('invalid', `S3 endpoint ${endpoint} is no http or https URL`);
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '') {
    throw new StorageError(
      'invalid',
      `S3 endpoint ${url.origin} must be scheme, host and port only`,
    );
  }
  if (settings.addressing === 'path') return { origin: url.origin, basePath: `/${bucket}` };
  if (/^[\d.]+$|^\[/.test(url.hostname)) {
    throw new StorageError(
      'invalid',
      `S3 endpoint ${url.origin} is an address, which holds no bucket names: use path-style`,
    );
  }
  return { origin: `${url.protocol}//${bucket}.${url.host}`, basePath: '' };
}

function awsEndpoint(region: string): string {
  const domain = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  return `https://s3.${region}.${domain}`;
}
