// What the handshake settled for a connection, and the transmission flags that follow from it.

import { StorageError } from '../../base/errors.ts';
import {
  BLOCK_BYTES_MIN,
  COMMAND,
  COMMAND_FLAG,
  EXPORT_FLAG,
  PAYLOAD_BYTES_MAX,
} from '../../proto/nbd/constants.ts';
import { ERRNO } from '../../proto/nbd/errors.ts';
import type { NbdRequest } from '../../proto/nbd/request.ts';
import type { BlockDevice, BlockDeviceDirectory } from '../../volume/block-device.ts';

/** simple < structured < extended: each can do what the one before can. */
export type ReplyMode = 'simple' | 'structured' | 'extended';

/** The one metadata context's id on every connection. */
export const ALLOCATION_CONTEXT_ID = 1;

export interface Session {
  /** Owned by the connection, which closes it. */
  readonly device: BlockDevice;
  readonly mode: ReplyMode;
  /** True when the client selected `base:allocation` for this export. */
  readonly allocationContext: boolean;
  /** True when the client asked for, and so must obey, the block sizes. */
  readonly aligned: boolean;
}

/** What another process needs to go on with a connection, besides its socket. */
export interface ConnectionState {
  readonly exportName: string;
  /** The export's size as the client was told it. */
  readonly sizeBytes: number;
  readonly mode: ReplyMode;
  readonly allocationContext: boolean;
  readonly aligned: boolean;
  /** What the client has sent past its last whole request that was begun. */
  readonly pending: Buffer;
}

/**
 * The session that a released connection was in. Throws `notFound` when there is no such export,
 * `invalid` when it is smaller than the client knows.
 */
export function resumeSession(directory: BlockDeviceDirectory, state: ConnectionState): Session {
  const { exportName, sizeBytes, mode, allocationContext, aligned } = state;
  const device = directory.open(exportName);
  if (device.sizeBytes < sizeBytes) {
    device.close();
    throw new StorageError('invalid', `"${exportName}" has shrunk under its client`);
  }
  return { device, mode, allocationContext, aligned };
}

export function exportFlags(readOnly: boolean, mode: ReplyMode, statusPayload: boolean): number {
  let flags =
    EXPORT_FLAG.hasFlags |
    EXPORT_FLAG.sendFlush |
    EXPORT_FLAG.sendFua |
    EXPORT_FLAG.sendTrim |
    EXPORT_FLAG.sendWriteZeroes |
    EXPORT_FLAG.sendFastZero |
    EXPORT_FLAG.sendCache |
    EXPORT_FLAG.canMultiConn;
  if (readOnly) flags |= EXPORT_FLAG.readOnly;
  if (mode !== 'simple') flags |= EXPORT_FLAG.sendDf;
  if (mode === 'extended' && statusPayload) flags |= EXPORT_FLAG.blockStatusPayload;
  return flags;
}

/** Why a request is refused before it reaches the device. */
export interface Refusal {
  readonly errno: number;
  readonly message: string;
}

const refusal = (errno: number, message: string): Refusal => ({ errno, message });

const UNKNOWN_COMMAND = refusal(ERRNO.invalid, 'unknown command');
const UNKNOWN_FLAGS = refusal(ERRNO.invalid, 'a flag that this command does not have');
const READ_ONLY = refusal(ERRNO.perm, 'the export is read-only');
const UNALIGNED = refusal(ERRNO.invalid, 'offset or length is not a multiple of 512');
const PAST_END = refusal(ERRNO.invalid, 'the range ends past the end of the export');
const WRITE_PAST_END = refusal(ERRNO.noSpace, 'the range ends past the end of the export');
const TOO_LONG = refusal(ERRNO.invalid, 'longer than the largest payload');
const READ_TOO_LONG = refusal(ERRNO.overflow, 'longer than the largest payload');
const NO_CONTEXT = refusal(ERRNO.invalid, 'no metadata context was selected');
const EMPTY_STATUS = refusal(ERRNO.invalid, 'the range is empty');
const FLUSH_RANGE = refusal(ERRNO.invalid, 'a flush has no offset and no length');
const NO_PAYLOAD = refusal(ERRNO.invalid, 'a payload was expected');

/** Flags that each command may carry, whatever was negotiated; FUA is valid on all of them. */
function flagsOf(request: NbdRequest, mode: ReplyMode): number {
  const payload = mode === 'extended' ? COMMAND_FLAG.payloadLength : 0;
  switch (request.type) {
    case COMMAND.read:
      return COMMAND_FLAG.fua | (mode === 'simple' ? 0 : COMMAND_FLAG.dontFragment);
    case COMMAND.write:
      return COMMAND_FLAG.fua | payload;
    case COMMAND.writeZeroes:
      return COMMAND_FLAG.fua | COMMAND_FLAG.noHole | COMMAND_FLAG.fastZero;
    case COMMAND.blockStatus:
      return COMMAND_FLAG.fua | COMMAND_FLAG.reqOne | payload;
    default:
      return COMMAND_FLAG.fua;
  }
}

/** Undefined when the device may be asked. Never throws, never looks at a payload. */
export function checkRequest(request: NbdRequest, session: Session): Refusal | undefined {
  const { type, length, offset } = request;
  const { device, mode } = session;
  if (type > COMMAND.blockStatus || type === COMMAND.disconnect) return UNKNOWN_COMMAND;
  if ((request.flags & ~flagsOf(request, mode)) !== 0) return UNKNOWN_FLAGS;
  if (type === COMMAND.flush) {
    return length === 0 && offset === 0 ? undefined : FLUSH_RANGE;
  }
  const changes = type === COMMAND.write || type === COMMAND.trim || type === COMMAND.writeZeroes;
  if (changes && device.readOnly) return READ_ONLY;
  const flagged = (request.flags & COMMAND_FLAG.payloadLength) !== 0;
  if (flagged && length === 0) return NO_PAYLOAD;
  if (type === COMMAND.write) {
    if (mode === 'extended' && !flagged) return NO_PAYLOAD;
    if (length > PAYLOAD_BYTES_MAX) return TOO_LONG;
  }
  if (type === COMMAND.read && length > PAYLOAD_BYTES_MAX) {
    return mode === 'simple' ? TOO_LONG : READ_TOO_LONG;
  }
  if (type === COMMAND.blockStatus) {
    if (!session.allocationContext) return NO_CONTEXT;
    // With a payload the header's length is the payload's; the range is checked when it is here.
    if (flagged) return undefined;
  }
  return checkRange(request, length, session);
}

/** The part of the check that needs the length of the range. */
export function checkRange(
  request: NbdRequest,
  length: number,
  session: Session,
): Refusal | undefined {
  const { type, offset } = request;
  if (session.aligned && (offset % BLOCK_BYTES_MIN !== 0 || length % BLOCK_BYTES_MIN !== 0)) {
    return UNALIGNED;
  }
  if (offset + length > session.device.sizeBytes) {
    return type === COMMAND.write || type === COMMAND.writeZeroes ? WRITE_PAST_END : PAST_END;
  }
  if (type === COMMAND.blockStatus && length === 0) return EMPTY_STATUS;
  return undefined;
}
