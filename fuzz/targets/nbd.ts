// NBD, as a client speaks to the server.
//
//   nbd-codec       the codecs alone: u8 which │ its bytes
//   nbd-connection  u32 how the bytes are cut and the device behaves │ the bytes of a client
//   nbd-stream      u32 seed │ (nothing): a client that keeps to the protocol, made from the seed.
//                   Every reply must decode, and every request be answered once.

import { createSeededRng } from '../../src/base/rng.ts';
import { decodeClientFlags, decodeOptionHeader } from '../../src/proto/nbd/handshake.ts';
import {
  CLIENT_FLAGS_BYTES,
  OPTION_HEADER_BYTES,
  OPTION_REPLY_HEADER_BYTES,
} from '../../src/proto/nbd/handshake.ts';
import { OPTION_REPLY, OPTION_REPLY_MAGIC } from '../../src/proto/nbd/constants.ts';
import { decodeInfoOption, decodeMetaContextOption } from '../../src/proto/nbd/options.ts';
import {
  createRequest,
  decodeBlockStatusPayload,
  decodeRequest,
  requestBytes,
} from '../../src/proto/nbd/request.ts';
import {
  contextData,
  decodeOptionReply,
  decodeReply,
  encodeRequest,
  infoData,
  statusPayload,
  takeFrom,
} from '../../test/nbd/client-codec.ts';
import { Converser } from '../nbd/connect.ts';
import { createStream, type Stream } from '../nbd/generate.ts';
import { expect, expectEqual, roundTrip, type Target } from '../target.ts';
import { Arguments } from './support.ts';

const GREETING_BYTES = 18;
/** Replies to options are errors from here on. */
const OPTION_ERRORS = 2 ** 31;

function runCodec(input: Uint8Array): void {
  const which = (input[0] ?? 0) % 6;
  const bytes = input.slice(1);
  if (which === 0) {
    roundTrip(bytes, decodeInfoOption, ({ name, infos }) => infoData(name, [...infos]));
  } else if (which === 1) {
    const encode = ({ name, queries }: ReturnType<typeof decodeMetaContextOption>): Uint8Array =>
      contextData(name, queries);
    roundTrip(bytes, decodeMetaContextOption, encode);
  } else if (which === 2) {
    const status = decodeBlockStatusPayload(bytes);
    if (status === undefined || !Number.isSafeInteger(status.length)) return;
    const again = statusPayload(status.length, [...status.contexts]);
    expectEqual(decodeBlockStatusPayload(again), status, 'a payload of a block status');
  } else if (which === 3) {
    if (bytes.length >= OPTION_HEADER_BYTES) decodeOptionHeader(bytes);
    if (bytes.length >= CLIENT_FLAGS_BYTES) decodeClientFlags(bytes);
  } else {
    runRequest(bytes, which === 5);
  }
}

/** The header comes back bit for bit, as replies repeat it. */
function runRequest(bytes: Uint8Array, extended: boolean): void {
  if (bytes.length < requestBytes(extended)) return;
  const request = createRequest();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (!decodeRequest(view, 0, extended, request)) return;
  const { flags, type } = request;
  // Past that a length is not exact, and no volume is so large.
  const length = Math.min(request.length, Number.MAX_SAFE_INTEGER);
  const cookie = BigInt(request.cookieHigh) * 2n ** 32n + BigInt(request.cookieLow);
  const offset = BigInt(request.offsetHigh) * 2n ** 32n + BigInt(request.offsetLow);
  const again = encodeRequest({ flags, type, cookie, offset, length }, extended);
  const exact = length === Number.MAX_SAFE_INTEGER ? 24 : again.length;
  const same = Buffer.compare(again.subarray(0, exact), bytes.subarray(0, exact)) === 0;
  expect(same, 'a request is what was sent');
}

const converser = new Converser();

function streamFor(seed: number): Stream {
  const rng = createSeededRng(seed);
  const requestsMax = rng.float() < 0.03 ? 1500 : 40;
  return createStream(rng, requestsMax, 1024 * 1024);
}

async function runStream(input: Uint8Array): Promise<number> {
  const seed = new Arguments(input).u32();
  const stream = streamFor(seed);
  const { sent } = await converser.converse(createSeededRng(seed + 1), stream.bytes, true);
  await checkReplies(stream, sent);
  return stream.options + stream.requests;
}

/** Everything that the server sent must decode, from the greeting to the last reply. */
async function checkReplies(stream: Stream, sent: Buffer): Promise<void> {
  const take = takeFrom(sent);
  await take(GREETING_BYTES);
  let left = sent.length - GREETING_BYTES;
  for (let i = 0; i < stream.options; i++) {
    for (let type = 2; type !== OPTION_REPLY.ack && type < OPTION_ERRORS;) {
      const reply = await decodeOptionReply(take);
      type = reply.type;
      left -= 20 + reply.data.length;
    }
  }
  // The data of simple replies have no frame of their own.
  if (stream.mode === 'simple') return;
  let answered = 0;
  while (left > 0) {
    const reply = await decodeReply(take);
    const extended = stream.mode === 'extended';
    expect(!extended || reply.kind === 'chunk', 'extended headers know no simple reply');
    if (reply.kind === 'simple' || reply.done) answered += 1;
    left -= reply.kind === 'simple' ? 16 : (extended ? 32 : 20) + reply.payload.length;
  }
  expect(left === 0, 'replies end with the stream');
  expectEqual(answered, stream.requests, 'the count of requests that were answered');
}

/** The client's flags count as a message, and each option and request that got an answer. */
async function runConnection(input: Uint8Array): Promise<number> {
  const given = new Arguments(input);
  const rng = createSeededRng(given.u32());
  const { sent, requests } = await converser.converse(rng, given.rest(), false);
  return 1 + answeredOptions(sent) + requests;
}

/** Each option has one last reply: an acknowledgement or an error. */
function answeredOptions(sent: Buffer): number {
  let count = 0;
  for (let at = GREETING_BYTES; at + OPTION_REPLY_HEADER_BYTES <= sent.length;) {
    if (OPTION_REPLY_MAGIC.some((word, i) => sent.readUInt32BE(at + i * 4) !== word)) break;
    const type = sent.readUInt32BE(at + 12);
    if (type === OPTION_REPLY.ack || type >= OPTION_ERRORS) count += 1;
    at += OPTION_REPLY_HEADER_BYTES + sent.readUInt32BE(at + 16);
  }
  return count;
}

function seedBytes(seed: number, bytes: Uint8Array = new Uint8Array(0)): Uint8Array {
  return Uint8Array.from([seed & 255, seed >>> 8, 0, 0, ...bytes]);
}

export const targets: readonly Target[] = [
  {
    name: 'nbd-codec',
    kinds: ['invalid'],
    seeds: () => [
      Uint8Array.of(0, ...infoData('disk', [3, 1])),
      Uint8Array.of(1, ...contextData('disk', ['base:allocation', 'x:'])),
      Uint8Array.of(2, ...statusPayload(4096, [1, 7])),
      Uint8Array.of(3, ...encodeRequest({ type: 0 })),
      Uint8Array.of(4, ...encodeRequest({ type: 1, cookie: 2n ** 63n, offset: 5, length: 7 })),
      Uint8Array.of(5, ...encodeRequest({ type: 6, offset: 2 ** 40, length: 2 ** 33 }, true)),
    ],
    run: runCodec,
  },
  {
    name: 'nbd-connection',
    kinds: [],
    bytesMax: 16 * 1024,
    // Buffers of the pool, chunks of the volume, replies that were sent.
    memoryBytes: 256 * 1024 * 1024,
    seeds: () =>
      Array.from({ length: 20 }, (_, seed) =>
        seedBytes(seed, createStream(createSeededRng(seed), 12, 600).bytes),
      ),
    run: runConnection,
  },
  {
    name: 'nbd-stream',
    kinds: [],
    bytesMax: 4,
    memoryBytes: 1024 * 1024 * 1024,
    seeds: () => [1, 2, 3].map((seed) => seedBytes(seed)),
    run: runStream,
  },
];
