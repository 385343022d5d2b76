// Whole stacks: the answers of an S3 server and of an admin server, as they come over a socket.
// Each input is what one connection says, as it is, and then it ends.
//
// A socket and a parser that is not ours cost a hundred times what a decoder does. The decoders
// behind have targets of their own (s3-answer.ts, admin-answer.ts); here it is the way there that
// is looked at: framing, headers, lengths that lie.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ObjectStore } from '../../src/objectstore/object-store.ts';
import { createS3Store } from '../../src/objectstore/s3/s3-store.ts';
import { createAdminClient } from '../../src/server/http/client.ts';
import { STATUS } from '../../src/server/http/testing.ts';
import type { Target } from '../target.ts';
import { ADMIN_KINDS, ADMIN_WORDS, askAdmin, ASKS as ADMIN_ASKS } from './admin-answer.ts';
import { NEWS, REFUSED } from './admin-answer.ts';
import { askStore, ASKS, LISTING, STORE_KINDS, STORE_SETTINGS, STORE_WORDS } from './s3-answer.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Says `answer` to whoever asks, once something was asked, and ends the connection. */
class Parrot {
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  answer: Uint8Array = new Uint8Array(0);

  constructor() {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
      socket.once('data', () => socket.end(this.answer));
    });
  }

  listen(path?: string): Promise<number> {
    return new Promise((resolve) => {
      const listening = (): void => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      };
      if (path === undefined) this.#server.listen(0, '127.0.0.1', listening);
      else this.#server.listen(path, listening);
    });
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

function reply(status: string, headers: readonly string[], body: string): string {
  const lines = [`HTTP/1.1 ${status}`, ...headers, `content-length: ${body.length}`, '', body];
  return lines.join('\r\n');
}

const HTTP_WORDS: readonly string[] = [
  '\r\n',
  'HTTP/1.1 200 OK\r\n',
  'HTTP/1.1 206 Partial\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 304 X\r\n',
  'HTTP/1.1 404 X\r\n',
  'transfer-encoding: chunked\r\n',
  '0\r\n\r\n',
  'content-length: 5\r\n',
  'content-length: 99999999999\r\n',
  'connection: close\r\n',
  'content-range: bytes 0-4/9\r\n',
  'x-amz-checksum-crc32: AAAAAA==\r\n',
  'fffffff1\r\n',
];

function s3Target(): Target {
  let parrot = new Parrot();
  let store: ObjectStore | undefined;
  const open = async (): Promise<ObjectStore> => {
    parrot = new Parrot();
    const port = await parrot.listen();
    const endpoint = `http://127.0.0.1:${port}`;
    return createS3Store({ ...STORE_SETTINGS, endpoint, requestTimeoutMs: 1500 });
  };
  return {
    name: 's3-http',
    kinds: STORE_KINDS,
    words: [...HTTP_WORDS, ...STORE_WORDS],
    memoryBytes: 64 * 1024 * 1024,
    seeds: () => [
      Uint8Array.of(0, ...encode(reply('200 OK', ['x-amz-checksum-crc32: qqqqqg=='], 'hello'))),
      Uint8Array.of(0, ...encode(reply('200 OK', ['etag: "x"'], 'hello'))),
      Uint8Array.of(1, ...encode(reply('206 P', ['content-range: bytes 2-6/9'], 'hello'))),
      Uint8Array.of(2, ...encode(reply('206 P', ['Content-Range: bytes 3-8/9'], 'hello!'))),
      Uint8Array.of(2, ...encode(reply('416 X', [], ''))),
      Uint8Array.of(3, ...encode(reply('200 OK', ['connection: close'], ''))),
      Uint8Array.of(4, ...encode(reply('200 OK', [], LISTING))),
      Uint8Array.of(5, ...encode('HTTP/1.1 204 No Content\r\n\r\n')),
      Uint8Array.of(6, ...encode(reply('412 X', [], '<Error><Code>x</Code></Error>'))),
    ],
    async run(input) {
      store ??= await open();
      parrot.answer = input.subarray(1);
      await askStore(store, (input[0] ?? 0) % ASKS);
    },
    async close() {
      await store?.close();
      store = undefined;
      parrot.close();
    },
  };
}

function adminClientTarget(): Target {
  let parrot = new Parrot();
  let folder: string | undefined;
  let client = createAdminClient('');
  const open = async (): Promise<string> => {
    const made = mkdtempSync(join(tmpdir(), 'varve-fuzz-'));
    parrot = new Parrot();
    await parrot.listen(join(made, 's'));
    client = createAdminClient(join(made, 's'));
    return made;
  };
  const json = (value: unknown): string =>
    reply('200 OK', ['content-type: application/json'], JSON.stringify(value));
  return {
    name: 'admin-client',
    kinds: ADMIN_KINDS,
    words: [...HTTP_WORDS, ...ADMIN_WORDS],
    seeds: () => [
      Uint8Array.of(0, ...encode(json(STATUS))),
      Uint8Array.of(1, ...encode(json({ volumes: [] }))),
      Uint8Array.of(2, ...encode(reply('200 OK', [], NEWS))),
      Uint8Array.of(3, ...encode(reply('404 X', [], REFUSED))),
    ],
    async run(input) {
      folder ??= await open();
      parrot.answer = input.subarray(1);
      await askAdmin(client, (input[0] ?? 0) % ADMIN_ASKS);
    },
    async close() {
      if (folder === undefined) return;
      parrot.close();
      rmSync(folder, { recursive: true });
      folder = undefined;
    },
  };
}

export const targets: readonly Target[] = [s3Target(), adminClientTarget()];
