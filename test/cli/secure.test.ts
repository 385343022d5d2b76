// Wires through the command line: what is refused at start, and a server with TLS, keys, a table of
// exports and the HTTP face.

import assert from 'node:assert/strict';
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { runCommand } from '../support/command.ts';
import { createVarveBox, type VarveBox } from '../support/varve-process.ts';

const STORE = ['--store', 'file:store'];
const TOKEN = 'a-token-for-tests-of-the-command-line';

let box: VarveBox;
let made: Certificates;
before(async () => {
  [box, made] = await Promise.all([createVarveBox(), makeCertificates()]);
  await writeFile(join(box.dir, 'token'), `${TOKEN}\n`, { mode: 0o600 });
  const { code, stderr } = await box.run(['init', ...STORE]);
  assert.equal(code, 0, stderr);
});
after(() => Promise.all([box.remove(), made.remove()]));

test('insecure listeners are refused before anything is touched', async () => {
  const cases: [string[], RegExp][] = [
    [['--nbd', '0.0.0.0:0'], /^varve: nbd 0\.0\.0\.0:0: other machines could .*--insecure\n$/],
    [['--nbd', 'unix:s', '--http', '0.0.0.0:0'], /^varve: http 0\.0\.0\.0:0: .*token-file/],
    [['--nbd', 'unix:s?tls=required'], /^varve: nbd unix:s\?tls=required: there is no certificate/],
    [['--nbd', 'unix:s', '--tls-cert', 'no.pem', '--tls-key', 'no.pem'], /no\.pem/],
  ];
  for (const [flags, reason] of cases) {
    const { code, stderr, stdout } = await box.run(['serve', ...STORE, ...flags]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, reason);
    assert.equal(stdout, '');
  }
  assert.ok(!(await readdir(box.dir)).includes('varve-state'));
});

test('--insecure serves other machines in clear, with a warning', async () => {
  const server = await box.serve([...STORE, '--nbd', '0.0.0.0:0', '--insecure']);
  const { code, stderr } = await server.stop();
  assert.equal(code, 0, stderr);
  assert.match(stderr, /nbd\.clients\.unknown/);
});

test('TLS, keys, exports and HTTP with a token; no secret shows anywhere', async () => {
  const key = (await readFile(made.psk, 'utf8')).trim().split(':')[1]!;
  const config = `nbd = ["0.0.0.0:0", "unix:nbd.sock?tls=off"]
[tls]
cert = "${made.cert}"
key = "${made.key}"
client-ca = "${made.ca}"
psk-file = "${made.psk}"
[tls.exports]
alice = ["disk"]
"*" = []
[http]
listen = "0.0.0.0:0"
token-file = "token"
[volumes]
disk = "8M"
hidden = "8M"
`;
  await writeFile(join(box.dir, 'varve.toml'), config);
  const server = await box.serve([...STORE, '--config', 'varve.toml', '--log-level', 'debug']);
  const port = /nbd=nbds:\/\/0\.0\.0\.0:(\d+)/.exec(server.ready)?.[1];
  const http = /http=https:\/\/0\.0\.0\.0:(\d+)/.exec(server.ready)?.[1];
  assert.ok(port !== undefined && http !== undefined, server.ready);
  assert.equal((await stat(join(box.dir, 'nbd.sock'))).mode & 0o777, 0o600);

  const sized = async (scheme: string, name: string, query: string): Promise<string> => {
    const uri = `${scheme}localhost:${port}/${name}?${query}`;
    return (await runCommand('nbdinfo', ['--size', uri])).trim();
  };
  const certificate = `tls-certificates=${made.dir}`;
  assert.equal(await sized('nbds://', 'disk', certificate), String(8 * 2 ** 20));
  assert.equal(await sized('nbds://alice@', 'disk', `tls-psk-file=${made.psk}`), '8388608');
  await assert.rejects(sized('nbds://', 'hidden', certificate), /No such file/);
  await assert.rejects(sized('nbd://', 'disk', ''), /TLS/);

  const metrics = await get(`https://localhost:${http}/metrics`, `Bearer ${TOKEN}`);
  assert.equal(metrics.status, 200);
  assert.match(metrics.text, /^varve_nbd_connections_total [1-9]/m);
  assert.equal((await get(`https://localhost:${http}/status`, 'Bearer x')).status, 401);

  const args = await readFile(`/proc/${server.child.pid}/cmdline`, 'utf8');
  const { code, stdout, stderr } = await server.stop();
  assert.equal(code, 0, stderr);
  assert.match(stderr, /nbd\.connection\.secured/);
  for (const secret of [key, TOKEN, box.env['VARVE_PASSPHRASE']!]) {
    assert.ok(!`${args}${stdout}${stderr}`.toLowerCase().includes(secret.toLowerCase()));
  }
});

test('keys that others can read are named; a wrong file gives one line', async () => {
  await chmod(made.psk, 0o644);
  const server = await box.serve([...STORE, '--nbd', 'unix:s', '--tls-psk-file', made.psk]);
  assert.match((await server.stop()).stderr, /secret\.readable.*keys\.psk/s);
  const wrong = ['--tls-cert', made.cert, '--tls-key', made.clientKey];
  const { code, stderr } = await box.run(['serve', ...STORE, '--nbd', 'unix:s', ...wrong]);
  assert.equal(code, 2);
  assert.match(stderr, /^varve: [^\n]*server-cert\.pem and [^\n]*client-key\.pem[^\n]*\n$/);
});

async function get(url: string, authorization: string): Promise<{ status: number; text: string }> {
  const ca = await readFile(made.ca);
  const sent = request(url, { ca, headers: { authorization }, agent: false });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  for await (const part of response) text += String(part);
  return { status: response.statusCode ?? 0, text };
}
