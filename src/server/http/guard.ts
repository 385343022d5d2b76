// Who may ask over TCP. A request is refused
//
//   401  without the token, where there is one
//   403  when a browser sent it for a page of another site: its Origin is not its Host, or it says
//        so itself (Sec-Fetch-Site)
//   403  where there is no token, when its Host is a name: a page may have made its own name mean
//        this machine (DNS rebinding), and is then no other site to the browser. Addresses and
//        `localhost` cannot be made to mean anything else.
//
// Pages of other sites cannot send the token: they would have to ask first (CORS), and nothing here
// answers that.

import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { messageOf, StorageError } from '../../base/errors.ts';
import { isLoopback, parseHostPort } from '../nbd/address.ts';

export interface Refused {
  readonly status: 401 | 403;
  readonly message: string;
}

/** Undefined lets the request pass. */
export type Guard = (request: Pick<IncomingMessage, 'headers'>) => Refused | undefined;

/** Shorter ones can be tried out. */
const TOKEN_CHARACTERS_MIN = 16;

/** The file's text without white space around it. Throws `invalid`, and never with the text. */
export async function readToken(path: string, warn: (file: string) => void): Promise<string> {
  let token: string;
  try {
    if (((await stat(path)).mode & 0o077) !== 0) warn(path);
    token = (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    throw new StorageError('invalid', `cannot read the HTTP token: ${messageOf(cause)}`, { cause });
  }
  if (token.length < TOKEN_CHARACTERS_MIN || !/^[\x21-\x7e]+$/.test(token)) {
    const what = `at least ${TOKEN_CHARACTERS_MIN} characters of ASCII, no white space`;
    throw new StorageError('invalid', `the HTTP token in ${path} must have ${what}`);
  }
  return token;
}

export function createGuard(token: string | undefined): Guard {
  const digest = token === undefined ? undefined : digestOf(token);
  return ({ headers }) => {
    if (isCrossSite(headers)) {
      return { status: 403, message: 'a page of another site may not ask' };
    }
    if (digest === undefined) {
      if (namesThisMachine(headers.host)) return undefined;
      const how = 'ask by address or as localhost, or set http.token-file';
      return { status: 403, message: `the Host of the request is not this machine: ${how}` };
    }
    const given = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
    // Digests have one length, whatever was sent: the time tells nothing.
    if (given !== undefined && timingSafeEqual(digestOf(given), digest)) return undefined;
    return { status: 401, message: 'the request needs "authorization: Bearer" and the token' };
  };
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function isCrossSite(headers: IncomingHttpHeaders): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  const { origin, host } = headers;
  if (origin === undefined) return false;
  const from = URL.parse(origin)?.host;
  return from === undefined || from === '' || from !== host?.toLowerCase();
}

function namesThisMachine(host: string | undefined): boolean {
  const parsed = host === undefined ? undefined : parseHostPort(host, 0);
  return parsed !== undefined && isLoopback(parsed.host);
}
