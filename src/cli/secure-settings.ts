// The settings of wires: TLS, who may open what, the HTTP face; and what must fit together before
// anything listens.

import { z } from 'zod';
import { StorageError } from '../base/errors.ts';
import { checkHttpFace } from '../server/http/listener.ts';
import type { AccessTable } from '../server/nbd/access.ts';
import { checkNbdAddress, type NbdAddress, parseHostPort } from '../server/nbd/address.ts';
import { checkTlsFiles, hasTls, type TlsFiles } from '../server/tls/credentials.ts';
import { text } from './setting-values.ts';

const hostPort = text.transform((value, ctx) => {
  const parsed = parseHostPort(value, undefined);
  if (parsed !== undefined) return parsed;
  ctx.addIssue({ code: 'custom', message: `"${value}": write HOST:PORT or [IPV6]:PORT` });
  return z.NEVER;
});

export const tlsSchema = z
  .strictObject({
    cert: text.optional(),
    key: text.optional(),
    'client-ca': text.optional(),
    'psk-file': text.optional(),
    exports: z.record(text, z.array(text)).optional(),
  })
  .prefault({});

export const httpSchema = z
  .strictObject({
    listen: hostPort.optional(),
    tls: z.enum(['on', 'off']).optional(),
    'token-file': text.optional(),
  })
  .prefault({});

/** Keys of files in those tables, which are relative to the settings file. */
export const SECURE_PATHS: Readonly<Record<string, readonly string[]>> = {
  tls: ['cert', 'key', 'client-ca', 'psk-file'],
  http: ['token-file'],
};

export interface SecureSettings {
  readonly nbd: readonly NbdAddress[];
  readonly tls: TlsFiles & { readonly exports: AccessTable | undefined };
  readonly http: {
    /** Undefined: no HTTP face. */
    readonly listen: { readonly host: string; readonly port: number } | undefined;
    /** Undefined: when there is a certificate. */
    readonly tls: boolean | undefined;
    readonly tokenFile: string | undefined;
  };
  /** Lets other machines in without TLS. */
  readonly insecure: boolean;
}

export function toTls(data: z.output<typeof tlsSchema>): SecureSettings['tls'] {
  const { cert, key, exports } = data;
  return { cert, key, clientCa: data['client-ca'], pskFile: data['psk-file'], exports };
}

export function toHttp(data: z.output<typeof httpSchema>): SecureSettings['http'] {
  return {
    listen: data.listen,
    tls: data.tls === undefined ? undefined : data.tls === 'on',
    tokenFile: data['token-file'],
  };
}

/** `--tls-export IDENTITY=NAME`, again and again. */
export function exportTree(values: readonly string[]): Record<string, string[]> {
  const names = new Map<string, string[]>();
  for (const value of values) {
    // A subject may hold an equals sign, and so may a name: the first one cuts.
    const cut = value.indexOf('=');
    if (cut < 1 || cut === value.length - 1) {
      const what = `--tls-export: "${value}" must be IDENTITY=NAME, like alice=disk`;
      throw new StorageError('invalid', what);
    }
    const identity = value.slice(0, cut);
    names.set(identity, [...(names.get(identity) ?? []), value.slice(cut + 1)]);
  }
  return Object.fromEntries(names);
}

/** True when the HTTP face is served with TLS. */
export function httpTls({ http, tls }: SecureSettings): boolean {
  return http.tls ?? tls.cert !== undefined;
}

/** Throws `invalid` for what does not fit together, and for insecure listeners. */
export function checkSecurity(settings: SecureSettings): void {
  const { nbd, tls, http, insecure } = settings;
  checkTlsFiles(tls);
  const tlsConfigured = hasTls(tls);
  if (tls.exports !== undefined && !tlsConfigured) {
    const what = 'without TLS nobody has a name: give tls.cert and tls.key, or tls.psk-file';
    throw new StorageError('invalid', `tls.exports: ${what}`);
  }
  for (const address of nbd) checkNbdAddress(address, { tlsConfigured, insecure });
  if (http.listen === undefined) return;
  if (http.tls === true && tls.cert === undefined) {
    throw new StorageError('invalid', 'http.tls: HTTP needs tls.cert and tls.key');
  }
  const secured = { tls: httpTls(settings), token: http.tokenFile !== undefined, insecure };
  checkHttpFace(http.listen, secured);
}
