// The limits of one NBD connection and of the server. Past a limit of a connection its socket is
// not read.

const KIB = 1024;
const MIB = 1024 * KIB;

/** Requests that wait for the device at one time. Clients rarely send more than 128 at once. */
export const IN_FLIGHT_REQUESTS_MAX = 256;
/**
 * What a connection holds: payloads that are coming in, payloads and read buffers of requests under
 * way, replies that the kernel has not taken. A request that would go past it waits. Replies
 * without data may go past it by UNSENT_BYTES_MAX.
 */
export const CONNECTION_BYTES_MAX = 64 * MIB;
/** So much of it is the connection's own, whatever the others hold. */
export const CONNECTION_OWN_BYTES = 1 * MIB;
/**
 * What all connections together hold past their own: many clients must not add up to all memory.
 * One payload (32 MiB) may be admitted just below it.
 */
export const SHARED_BYTES_MAX = 256 * MIB;
/**
 * While others wait for shared memory, a client that holds some must take a reply or send a part of
 * a payload in such a time, or twice it; else it is dropped.
 */
export const STALLED_MS = 30_000;
/** Reply bytes that the kernel has not taken yet, past which no request is begun. */
export const UNSENT_BYTES_MAX = 1 * MIB;

/** A payload past this is an attack or a lost frame; up to this it is read, dropped and refused. */
export const PAYLOAD_DRAIN_BYTES_MAX = 64 * MIB;
/** Option data that we look at: room for a name and a dozen queries of the longest strings. */
export const OPTION_BYTES_MAX = 64 * KIB;
/** Option data past this close the connection; up to this they are read, dropped and refused. */
export const OPTION_DRAIN_BYTES_MAX = 16 * MIB;

/** Reads up to this are packed with other replies into one buffer; larger ones get their own. */
export const PACKED_READ_BYTES_MAX = 64 * KIB;
/** Size of that buffer: some depth-32 batches of 4 KiB reads. */
export const SLAB_BYTES = 256 * KIB;
/** Extents of one BLOCK_STATUS reply: its chunk (16 bytes each at most) fits a slab. */
export const EXTENTS_MAX = 8192;
/** Extents that a large read is split into; what lies past them is sent as data. */
export const READ_EXTENTS_MAX = 256;

/** Free buffers that the server keeps for reuse. */
export const POOL_FREE_BYTES_MAX = 64 * MIB;

/** After our last byte, how long a client may take to close before its socket is torn down. */
export const LINGER_MS = 2000;
