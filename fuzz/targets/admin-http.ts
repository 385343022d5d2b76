// Requests to the admin server: bytes of a client, through node's parser, to the handler. Each
// input is what one connection says, mostly several requests, and then it ends. The connection is
// in memory: sockets are not ours, and cost ten times as much.
//
//   u8 which server: of the socket, over TCP without a token, with one │ bytes

import { createServer, type Server } from 'node:http';
import { Duplex } from 'node:stream';
import { type LogFields, silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import { createGuard } from '../../src/server/http/guard.ts';
import { createHandler } from '../../src/server/http/handler.ts';
import { fakeService } from '../../src/server/http/testing.ts';
import { Finding, type Target } from '../target.ts';

/** Turns of the event loop without a sign of life, after which requests are taken to be cut off. */
const QUIET_TURNS_MAX = 6;
/** Turns that a connection may take to end, once its client has. */
const END_TURNS_MAX = 1000;
const TOKEN = 'a-token-of-20-letters';

/** What is written to it is dropped. */
class Connection extends Duplex {
  override _read(): void {}

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

/** What came of requests. */
interface Tally {
  begun: number;
  over: number;
  readonly bugs: unknown[];
}

function createServers(tally: Tally): readonly Server[] {
  const error = (event: string, fields?: LogFields): void => {
    const cause = fields?.['error'];
    const gone = cause instanceof Error && 'code' in cause && cause.code === 'ECONNRESET';
    // A client that leaves in the middle of a request is told nothing.
    if (event === 'admin.request.failed' && !gone) tally.bugs.push(fields);
  };
  const log = { ...silentLog, error };
  const stopping = new AbortController().signal;
  return [undefined, createGuard(undefined), createGuard(TOKEN)].map((guard) => {
    const server = createServer((request, response) => {
      tally.begun += 1;
      response.once('close', () => (tally.over += 1));
      // A service for each: what one request does, another input must not find.
      createHandler({ service: fakeService(), log, stopping, guard })(request, response);
    });
    // The clocks of the server have no say in what an input does.
    server.requestTimeout = 0;
    server.headersTimeout = 0;
    server.keepAliveTimeout = 0;
    return server;
  });
}

/** Resolves when the connection is over. */
async function converse(server: Server, tally: Tally, bytes: Uint8Array): Promise<void> {
  const connection = new Connection();
  let closed = false;
  connection.on('error', () => {});
  connection.once('close', () => (closed = true));
  server.emit('connection', connection);
  connection.push(bytes);
  let seen = -1;
  for (let quiet = 0; quiet < QUIET_TURNS_MAX; quiet++) {
    await systemClock.yieldTurn();
    if (closed || (tally.begun > 0 && tally.over === tally.begun)) break;
    if (tally.begun + tally.over > seen) quiet = 0;
    seen = tally.begun + tally.over;
  }
  if (!connection.destroyed) connection.push(null);
  for (let turn = 0; !closed; turn++) {
    if (turn > END_TURNS_MAX) throw new Finding('a connection does not end');
    await systemClock.yieldTurn();
  }
}

function request(line: string, body = '', headers = ''): string {
  const head = `${line} HTTP/1.1\r\nhost: localhost\r\n${headers}`;
  return `${head}content-length: ${body.length}\r\n\r\n${body}`;
}

const REQUESTS = [
  request('GET /status'),
  request('POST /volumes', '{"name":"disk","sizeBytes":4096}'),
  request('GET /metrics', '', 'origin: http://localhost\r\nsec-fetch-site: same-origin\r\n'),
  request('POST /volumes/disk/resize', '{"sizeBytes":8192,"force":true}'),
  request('DELETE /volumes/d%20'),
  request('POST /snapshots', '{"name":"s"}'),
  request('POST /flush'),
  request('POST /collection'),
  request('POST /branches', '{"name":"b","from":"s"}'),
  `POST /snapshots HTTP/1.1\r\nhost: [::1]:8080\r\ntransfer-encoding: chunked\r\n\r\n` +
    `5\r\n{"nam\r\n7\r\ne":"x"}\r\n0\r\n\r\n`,
];

function seed(server: number, requests: readonly string[]): Uint8Array {
  return Uint8Array.of(server, ...new TextEncoder().encode(requests.join('')));
}

function adminHttpTarget(): Target {
  const tally: Tally = { begun: 0, over: 0, bugs: [] };
  const servers = createServers(tally);
  const authorized = REQUESTS.map((one) =>
    one.replace('host:', `authorization: Bearer ${TOKEN}\r\nhost:`),
  );
  return {
    name: 'admin-http',
    kinds: [],
    words: [
      '\r\n',
      'GET /status HTTP/1.1\r\n',
      'POST /volumes ',
      'host: x\r\n',
      'host: 127.0.0.1\r\n',
      'origin: http://x\r\n',
      'sec-fetch-site: cross-site\r\n',
      'authorization: Bearer x\r\n',
      'transfer-encoding: chunked\r\n',
      'content-length: 5\r\n',
      'expect: 100-continue\r\n',
      'connection: close\r\n',
      'upgrade: x\r\n',
      'fffffff1\r\n',
      '0\r\n\r\n',
      '{"name":',
    ],
    memoryBytes: 64 * 1024 * 1024,
    seeds: () => [
      ...REQUESTS.map((one, i) => seed(i % 2, [one, one, one, one])),
      seed(0, REQUESTS),
      seed(1, REQUESTS),
      seed(2, authorized),
    ],
    async run(input) {
      tally.begun = 0;
      tally.over = 0;
      await converse(servers[(input[0] ?? 0) % servers.length]!, tally, input.slice(1));
      if (tally.bugs.length === 0) return tally.begun;
      throw new Finding(`an internal error: ${JSON.stringify(tally.bugs.splice(0))}`);
    },
  };
}

export const targets: readonly Target[] = [adminHttpTarget()];
