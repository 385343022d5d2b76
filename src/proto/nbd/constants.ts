// The numbers of the NBD protocol: doc/proto.md of NetworkBlockDevice/nbd, and its
// `extension-ext-header` branch for extended headers. All integers on the wire are big-endian.

/** IANA's port for newstyle NBD. */
export const NBD_PORT = 10809;

/** 64-bit magics as two halves, high first. */
export const GREETING_MAGIC = [0x4e42444d, 0x41474943] as const; // 'NBDMAGIC'
export const OPTION_MAGIC = [0x49484156, 0x454f5054] as const; // 'IHAVEOPT'
export const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const;

export const REQUEST_MAGIC = 0x25609513;
export const EXTENDED_REQUEST_MAGIC = 0x21e41c71;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
export const EXTENDED_REPLY_MAGIC = 0x6e8a278c;

/** "Flag fields", handshake flags and client flags: the same two bits in both directions. */
export const HANDSHAKE_FLAG = { fixedNewstyle: 1 << 0, noZeroes: 1 << 1 } as const;

/** "Transmission flags". */
export const EXPORT_FLAG = {
  hasFlags: 1 << 0,
  readOnly: 1 << 1,
  sendFlush: 1 << 2,
  sendFua: 1 << 3,
  sendTrim: 1 << 5,
  sendWriteZeroes: 1 << 6,
  sendDf: 1 << 7,
  canMultiConn: 1 << 8,
  sendCache: 1 << 10,
  sendFastZero: 1 << 11,
  blockStatusPayload: 1 << 12,
} as const;

/** "Option types". */
export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const;

const ERROR_BIT = 2 ** 31;

/** "Option reply types". */
export const OPTION_REPLY = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errUnsupported: ERROR_BIT + 1,
  errPolicy: ERROR_BIT + 2,
  errInvalid: ERROR_BIT + 3,
  errPlatform: ERROR_BIT + 4,
  errTlsRequired: ERROR_BIT + 5,
  errUnknown: ERROR_BIT + 6,
  errShutdown: ERROR_BIT + 7,
  errBlockSizeRequired: ERROR_BIT + 8,
  errTooBig: ERROR_BIT + 9,
  errExtendedHeadersRequired: ERROR_BIT + 10,
} as const;

/** NBD_INFO_*: what an INFO or GO option asks for. */
export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

/** "Request types". */
export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

/** "Command flags". */
export const COMMAND_FLAG = {
  fua: 1 << 0,
  noHole: 1 << 1,
  dontFragment: 1 << 2,
  reqOne: 1 << 3,
  fastZero: 1 << 4,
  payloadLength: 1 << 5,
} as const;

/** "Structured reply flags". */
export const CHUNK_FLAG_DONE = 1;

/** "Structured reply types". */
export const CHUNK = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  blockStatusExtended: 6,
  error: 2 ** 15 + 1,
  errorOffset: 2 ** 15 + 2,
} as const;

/** Flags of the `base:allocation` metadata context. */
export const STATE_HOLE = 1;
export const STATE_ZERO = 2;
export const CONTEXT_BASE_ALLOCATION = 'base:allocation';

/** "Conventions": a string is at most this long, and holds no NUL. */
export const STRING_BYTES_MAX = 4096;

/** "Size constraints": what BLOCK_SIZE information advertises. */
export const BLOCK_BYTES_MIN = 512;
export const BLOCK_BYTES_PREFERRED = 4096;
/** The default of the specification, which every client knows without asking. */
export const PAYLOAD_BYTES_MAX = 32 * 1024 * 1024;
