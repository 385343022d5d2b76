// Byte streams of NBD clients that keep to the protocol: handshake, options, requests.

import type { Rng } from '../../src/base/rng.ts';
import { COMMAND, COMMAND_FLAG, OPTION } from '../../src/proto/nbd/constants.ts';
import {
  contextData,
  encodeClientFlags,
  encodeOption,
  encodeRequest,
  infoData,
  statusPayload,
} from '../../test/nbd/client-codec.ts';

const MIB = 1024 * 1024;
export const VOLUME_BYTES = 4 * MIB;

export const pick = <T>(rng: Rng, items: readonly T[]): T =>
  items[Math.floor(rng.float() * items.length)]!;
export const upTo = (rng: Rng, max: number): number => Math.floor(rng.float() * max);
export const chance = (rng: Rng, share: number): boolean => rng.float() < share;

/** Units that a request may be long: to copy bytes tests little, so most streams have few. */
const LONGEST_UNITS = [20, 20, 20, 20, 20, 20, 20, 20, 20, 400];

interface Shape {
  readonly extended: boolean;
  readonly unitsMax: number;
  /** That one request writes. */
  readonly payloadBytesMax: number;
}

export interface Stream {
  readonly bytes: Buffer;
  readonly mode: 'simple' | 'structured' | 'extended';
  readonly options: number;
  /** Requests that get a reply. */
  readonly requests: number;
}

/** `requestsMax` bounds the requests, `payloadBytesMax` the bytes that one writes. */
export function createStream(rng: Rng, requestsMax: number, payloadBytesMax: number): Stream {
  const mode = pick(rng, ['simple', 'structured', 'extended'] as const);
  const parts: Buffer[] = [encodeClientFlags(3)];
  let options = 0;
  const option = (code: number, data?: Uint8Array): void => {
    parts.push(encodeOption(code, data));
    options += 1;
  };
  if (mode === 'structured') option(OPTION.structuredReply);
  if (mode === 'extended') option(OPTION.extendedHeaders);
  for (let i = upTo(rng, 4); i > 0; i--) {
    const context = contextData('disk', ['base:allocation']);
    const { list, info, startTls, listMetaContext } = OPTION;
    const any = pick(rng, [list, info, startTls, 4, 99, listMetaContext]);
    option(any, pick(rng, [infoData('disk', [3]), context, Buffer.alloc(upTo(rng, 300))]));
  }
  if (mode !== 'simple') option(OPTION.setMetaContext, contextData('disk', ['base:allocation']));
  option(OPTION.go, infoData('disk', chance(rng, 0.5) ? [3] : []));
  const count = upTo(rng, requestsMax);
  const unitsMax = pick(rng, LONGEST_UNITS);
  const shape = { extended: mode === 'extended', unitsMax, payloadBytesMax };
  for (let i = 0; i < count; i++) parts.push(createRequest(rng, shape));
  if (chance(rng, 0.5)) {
    parts.push(encodeRequest({ type: COMMAND.disconnect }, mode === 'extended'));
  }
  return { bytes: Buffer.concat(parts), mode, options, requests: count };
}

function createRequest(rng: Rng, { extended, unitsMax, payloadBytesMax }: Shape): Buffer {
  const type = chance(rng, 0.05) ? upTo(rng, 0x10000) : pick(rng, [0, 0, 1, 1, 3, 4, 5, 6, 7]);
  // A request of that type ends the connection, and has no reply.
  const asked = type === COMMAND.disconnect ? COMMAND.flush : type;
  const unit = pick(rng, [1, 512, 4096]);
  const offset = upTo(rng, VOLUME_BYTES / unit + 2) * unit;
  let length = upTo(rng, pick(rng, [2, 20, unitsMax])) * unit;
  if (chance(rng, 0.02)) length = pick(rng, [2 ** 32 - 1, 33 * MIB, VOLUME_BYTES]);
  let flags = chance(rng, 0.3) ? upTo(rng, 64) & ~COMMAND_FLAG.payloadLength : 0;
  let payload: Uint8Array = Buffer.alloc(0);
  if (asked === COMMAND.write || (extended && chance(rng, 0.05))) {
    length = Math.min(length, payloadBytesMax);
    payload = Buffer.alloc(length, upTo(rng, 256));
    if (extended) flags |= COMMAND_FLAG.payloadLength;
  } else if (extended && asked === COMMAND.blockStatus && chance(rng, 0.5)) {
    payload = statusPayload(length, pick(rng, [[1], [], [1, 1], [2]]));
    length = payload.length;
    flags |= COMMAND_FLAG.payloadLength;
  }
  const cookie = BigInt(upTo(rng, 2 ** 32));
  const header = encodeRequest({ type: asked, flags, cookie, offset, length }, extended);
  return Buffer.concat([header, payload]);
}
