// Real clients over TLS: libnbd (GnuTLS), qemu and openssl, with certificates and with keys.

import assert from 'node:assert/strict';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import { loadTlsCredentials, type TlsFiles } from '../../src/server/tls/credentials.ts';
import type { AccessTable } from '../../src/server/nbd/access.ts';
import type { TlsMode } from '../../src/server/nbd/address.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { createMemoryVolume } from '../support/memory-device.ts';
import { nbdsh, run, serveVolumes } from './harness.ts';
import type { Served } from './harness.ts';

const MIB = 1024 * 1024;

let made: Certificates;
/** A client without a certificate of its own: it knows the CA alone. */
let anonymous = '';
before(async () => {
  made = await makeCertificates();
  anonymous = join(made.dir, 'anonymous');
  await mkdir(anonymous);
  await symlink(made.ca, join(anonymous, 'ca-cert.pem'));
});
after(() => made.remove());

const noFiles: TlsFiles = {
  cert: undefined,
  key: undefined,
  clientCa: undefined,
  pskFile: undefined,
};

async function serve(
  t: TestContext,
  files: Partial<TlsFiles>,
  mode: TlsMode = 'required',
  access?: AccessTable,
): Promise<Served & { readonly url: (scheme: string, query: string, name?: string) => string }> {
  const tls = await loadTlsCredentials({ ...noFiles, ...files }, () => {});
  const volumes = ['disk', 'other'].map((name) => createMemoryVolume(name, 8 * MIB));
  const served = await serveVolumes(t, volumes, {}, { tls, access, mode });
  const url = (scheme: string, query: string, name = 'disk'): string =>
    `${scheme}localhost:${served.tcp.port}/${name}?${query}`;
  return { ...served, url };
}

const certified = (): string => `tls-certificates=${made.dir}`;
const size = (uri: string): Promise<string> => run('nbdinfo', ['--size', uri]);

test('nbdinfo and nbdcopy with a client certificate', async (t) => {
  const files = { cert: made.cert, key: made.key, clientCa: made.ca };
  const { url, volume } = await serve(t, files);
  const uri = url('nbds://', certified());
  assert.equal((await size(uri)).trim(), String(8 * MIB));
  const info = JSON.parse(await run('nbdinfo', ['--json', uri]));
  assert.equal(info.TLS, true);
  await nbdsh(uri, [
    'h.set_uri_allow_local_file(True)',
    'h.connect_uri("$URI")',
    'assert h.get_tls_negotiated()',
    'data = bytes(range(256)) * 4096',
    'for i in range(8): h.pwrite(data, i * 1048576)',
    'h.flush()',
    'for i in range(8): assert h.pread(1048576, i * 1048576) == data',
  ]);
  assert.equal(volume.chunks.get(0)?.bytes[257], 1);
});

test('a key of the file opens, a wrong one and no one do not', async (t) => {
  const { url, directory } = await serve(t, { pskFile: made.psk });
  const uri = url('nbds://alice@', `tls-psk-file=${made.psk}`);
  assert.equal((await size(uri)).trim(), String(8 * MIB));
  const wrong = join(directory, 'wrong.psk');
  await run('/bin/sh', ['-c', `echo alice:${'00'.repeat(32)} > ${wrong}`]);
  await assert.rejects(size(url('nbds://alice@', `tls-psk-file=${wrong}`)), /TLS|handshake/i);
  await assert.rejects(size(url('nbds://', `tls-certificates=${anonymous}`)), /TLS|handshake/i);
});

test('without TLS a required listener refuses; an offered one serves', async (t) => {
  const files = { cert: made.cert, key: made.key };
  const required = await serve(t, files);
  await assert.rejects(size(required.url('nbd://', '')), /requires? TLS|TLS/i);
  const offered = await serve(t, files, 'offered');
  assert.equal((await size(offered.url('nbd://', ''))).trim(), String(8 * MIB));
  // Without a CA for clients anybody may come, sealed.
  assert.equal((await size(offered.url('nbds://', certified()))).trim(), String(8 * MIB));
});

test('a client without a certificate is refused where there is a CA for clients', async (t) => {
  const files = { cert: made.cert, key: made.key, clientCa: made.ca };
  const { url } = await serve(t, files);
  await assert.rejects(size(url('nbds://', `tls-certificates=${anonymous}`)));
});

test('a client sees what its name may open, and nothing else', async (t) => {
  const files = { cert: made.cert, key: made.key, clientCa: made.ca, pskFile: made.psk };
  const access = { alice: ['other'], bob: ['*'] };
  const { url } = await serve(t, files, 'required', access);
  for (const [scheme, query] of [
    ['nbds://', certified()],
    ['nbds://alice@', `tls-psk-file=${made.psk}`],
  ] as const) {
    const listed = JSON.parse(await run('nbdinfo', ['--list', '--json', url(scheme, query, '')]));
    assert.deepEqual(
      listed.exports.map((one: Record<string, unknown>) => one['export-name']),
      ['other'],
    );
    assert.equal((await size(url(scheme, query, 'other'))).trim(), String(8 * MIB));
    await assert.rejects(size(url(scheme, query, 'disk')), /No such file or directory/);
  }
});

test('qemu, with a key', async (t) => {
  const { tcp } = await serve(t, { pskFile: made.psk });
  const object = `tls-creds-psk,id=tls0,dir=${made.dir},username=alice,endpoint=client`;
  const image = `driver=nbd,host=localhost,port=${tcp.port},export=disk,tls-creds=tls0`;
  const args = ['info', '--output=json', '--object', object, '--image-opts', image];
  assert.equal(JSON.parse(await run('qemu-img', args))['virtual-size'], 8 * MIB);
});

test('qemu, with a certificate', async (t) => {
  const files = { cert: made.cert, key: made.key, clientCa: made.ca };
  const { tcp } = await serve(t, files);
  const object = `tls-creds-x509,id=tls0,dir=${made.dir},endpoint=client`;
  const image = `driver=nbd,host=localhost,port=${tcp.port},export=disk,tls-creds=tls0`;
  const args = ['info', '--output=json', '--object', object, '--image-opts', image];
  assert.equal(JSON.parse(await run('qemu-img', args))['virtual-size'], 8 * MIB);
  const address = ['--bind', 'localhost', '--port', String(tcp.port)];
  const listed = ['--list', ...address, '--object', object, '--tls-creds', 'tls0'];
  assert.match(await run('qemu-nbd', listed), /export: 'other'/);
});
