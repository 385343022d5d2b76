// What holds when clients are silent or ask for too much: options and names that are too long,
// handshakes that never end. What they hold of memory: memory.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMAND, OPTION, OPTION_REPLY } from '../../src/proto/nbd/constants.ts';
import { encodeOption, infoData } from './client-codec.ts';
import { serveVolumes } from './harness.ts';

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test('names of more than 4096 bytes are refused', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  const long = infoData('x'.repeat(4097));
  const [reply] = await client.option(OPTION.go, long);
  assert.equal(reply!.type, OPTION_REPLY.errInvalid);
  const [fits] = await client.option(OPTION.go, infoData('x'.repeat(4096)));
  assert.equal(fits!.type, OPTION_REPLY.errUnknown);
  client.send(encodeOption(OPTION.exportName, Buffer.alloc(4097, 0x78)));
  await client.closed;
});

test('a client that says nothing is dropped, and makes room for another', async (t) => {
  const { connect, server } = await serveVolumes(t, undefined, {
    connectionsMax: 1,
    handshakeMs: 100,
  });
  const silent = await connect();
  await silent.take(18);
  const refused = await connect();
  await refused.closed;
  assert.equal(refused.pending, 0);
  await silent.closed;
  while (server.connectionCount() > 0) await turn();
  const next = await connect();
  await next.negotiate();
  assert.equal(await next.status({ type: COMMAND.flush }), 0);
});
