// Certificates and keys for tests, made by the very commands that docs/security.md tells people.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from './command.ts';

const MANUAL = join(import.meta.dirname, '../../docs/security.md');

export interface Certificates {
  /** Also what libnbd and qemu look for: ca-cert, client-cert, client-key, server-cert, … .pem. */
  readonly dir: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly clientCert: string;
  readonly clientKey: string;
  /** The key of `alice`, who is the client certificate's subject, too. */
  readonly psk: string;
  remove(): Promise<void>;
}

export async function makeCertificates(): Promise<Certificates> {
  const manual = await readFile(MANUAL, 'utf8');
  const commands = /## Certificates\n[^`]*```sh\n([^`]*)```/.exec(manual)?.[1];
  if (commands === undefined) throw new Error('docs/security.md has no commands for certificates');
  const dir = await mkdtemp(join(tmpdir(), 'varve-tls-'));
  await runCommand('/bin/sh', ['-e', '-c', commands], { cwd: dir });
  return {
    dir,
    cert: join(dir, 'server-cert.pem'),
    key: join(dir, 'server-key.pem'),
    ca: join(dir, 'ca-cert.pem'),
    clientCert: join(dir, 'client-cert.pem'),
    clientKey: join(dir, 'client-key.pem'),
    psk: join(dir, 'keys.psk'),
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}
