// Where the keys that sign S3 requests come from.
//
// The AWS chain (environment, profiles, web identity, container and instance roles) is the SDK's,
// which is heavy: it is loaded only when the environment does not simply hold the keys. What it
// gives is kept until five minutes before it expires; however many requests need a refresh, one is
// made.

import type { Clock } from '../../base/clock.ts';
import { messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** Milliseconds since 1970-01-01 UTC; absent when they do not expire. */
  readonly expiresAtMs?: number;
}

export interface CredentialProvider {
  /**
   * Credentials that are good now. Throws StorageError `denied`, or `unavailable` when it may pass.
   */
  get(): Credentials | Promise<Credentials>;
  /**
   * The store refused `used` as expired: the next `get` must not give them again if it can be
   * helped.
   */
  reject(used: Credentials): void;
}

/** Refreshing begins this long before the credentials expire. */
const REFRESH_BEFORE_MS = 5 * 60 * 1000;

/** Credentials that never change. */
export function staticCredentials(credentials: Credentials): CredentialProvider {
  return { get: () => credentials, reject: () => {} };
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The standard AWS chain. Keys in `environment` are used as they are, without loading the SDK,
 * unless a profile is named there: the chain then prefers the profile, and so do we.
 */
export function awsCredentials(
  environment: Environment,
  deps: { readonly clock: Clock; readonly log: Log },
): CredentialProvider {
  const accessKeyId = environment.AWS_ACCESS_KEY_ID;
  const secretAccessKey = environment.AWS_SECRET_ACCESS_KEY;
  const sessionToken = environment.AWS_SESSION_TOKEN;
  if (accessKeyId && secretAccessKey && !environment.AWS_PROFILE) {
    return staticCredentials({
      accessKeyId,
      secretAccessKey,
      ...(sessionToken ? { sessionToken } : {}),
    });
  }
  return cachedCredentials(loadFromChain(), deps);
}

/** Gives fresh credentials; with `force`, ones that no cache of its own has seen. */
export type CredentialLoader = (force: boolean) => Promise<Credentials>;

function loadFromChain(): CredentialLoader {
  let chain: ((options?: { forceRefresh?: boolean }) => Promise<ChainCredentials>) | undefined;
  return async (force) => {
    if (chain === undefined) {
      const { fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
      chain = fromNodeProviderChain();
    }
    const found = await chain(force ? { forceRefresh: true } : {});
    return {
      accessKeyId: found.accessKeyId,
      secretAccessKey: found.secretAccessKey,
      ...(found.sessionToken === undefined ? {} : { sessionToken: found.sessionToken }),
      ...(found.expiration === undefined ? {} : { expiresAtMs: found.expiration.getTime() }),
    };
  };
}

interface ChainCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  readonly expiration?: Date | undefined;
}

/**
 * Caches what `load` gives until shortly before it expires; one load at a time, shared by all who
 * wait.
 */
export function cachedCredentials(
  load: CredentialLoader,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): CredentialProvider {
  let current: Credentials | undefined;
  let rejected = false;
  let loading: Promise<Credentials> | undefined;

  const expiresIn = (credentials: Credentials): number =>
    (credentials.expiresAtMs ?? Infinity) - clock.unixMs();

  async function refresh(): Promise<Credentials> {
    try {
      current = await load(rejected);
      rejected = false;
      return current;
    } catch (error) {
      if (current === undefined) {
        throw new StorageError(
          'denied',
          `no S3 credentials: ${messageOf(error)} (set AWS_ACCESS_KEY_ID and` +
            ' AWS_SECRET_ACCESS_KEY, a profile, or an instance role)',
          { cause: error },
        );
      }
      // They worked before, so the source is likely to come back; until they expire the old ones
      // do.
      log.warn('s3.credentials.refresh-failed', { reason: messageOf(error) });
      if (!rejected && expiresIn(current) > 0) return current;
      throw new StorageError(
        'unavailable',
        `the S3 credentials expired and cannot be renewed: ${messageOf(error)}`,
        { cause: error },
      );
    } finally {
      loading = undefined;
    }
  }

  return {
    get() {
      if (current !== undefined && !rejected && expiresIn(current) > REFRESH_BEFORE_MS) {
        return current;
      }
      loading ??= refresh();
      return loading;
    },
    reject(used) {
      if (used === current) rejected = true;
    },
  };
}
