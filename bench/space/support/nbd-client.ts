// A lean NBD client that makes load: requests in any number at one time over one Unix socket,
// simple replies, nothing that is written is copied.
//
//   request: magic u32, flags u16, type u16, cookie u64, offset u64, length u32, data of a WRITE
//   reply:   magic u32, errno u32, cookie u64, data of a READ
//
// The cookie is the number of the slot that waits for the reply. All requests of a turn leave in
// one system call: a turn in which several replies came sends as many requests.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  COMMAND,
  HANDSHAKE_FLAG,
  OPTION,
  OPTION_REPLY,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
} from '../../../src/proto/nbd/constants.ts';
import {
  decodeOptionReply,
  encodeClientFlags,
  encodeOption,
  infoData,
} from '../../../test/nbd/client-codec.ts';

const GREETING_BYTES = 18;
const REQUEST_BYTES = 28;
const REPLY_BYTES = 16;

interface Slot {
  readonly index: number;
  /** Free again once the reply is there, so the socket has sent it. */
  readonly header: Buffer;
  resolve: (data: Buffer) => void;
  reject: (error: Error) => void;
  /** Of a READ; empty for others. */
  target: Buffer;
}

const NOTHING = Buffer.alloc(0);
const nobody = (): void => {};

export class NbdClient {
  readonly #socket: Socket;
  readonly #slots: Slot[] = [];
  readonly #free: Slot[] = [];
  readonly #reply = Buffer.alloc(REPLY_BYTES);
  #replyBytes = 0;
  /** The READ whose data arrive, and how many are there. */
  #reading: Slot | undefined;
  #readBytes = 0;
  #corked = false;
  #gone: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  /** Rejects when there is no such export. */
  static async connect(path: string, name: string): Promise<NbdClient> {
    const socket = connect({ path });
    await once(socket, 'connect');
    await negotiate(socket, name);
    return new NbdClient(socket);
  }

  /** `parts` are borrowed until the call settles. */
  async write(offset: number, parts: readonly Uint8Array[]): Promise<void> {
    const length = parts.reduce((sum, { length: bytes }) => sum + bytes, 0);
    await this.#request(COMMAND.write, offset, length, NOTHING, parts);
  }

  /** The result is the caller's. */
  read(offset: number, length: number): Promise<Buffer> {
    return this.#request(COMMAND.read, offset, length, Buffer.allocUnsafe(length));
  }

  async flush(): Promise<void> {
    await this.#request(COMMAND.flush, 0, 0, NOTHING);
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#request(COMMAND.trim, offset, length, NOTHING);
  }

  /** Without the protocol's farewell: whatever is under way fails. */
  close(): void {
    this.#socket.destroy();
  }

  #request(
    type: number,
    offset: number,
    length: number,
    target: Buffer,
    parts: readonly Uint8Array[] = [],
  ): Promise<Buffer> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    const slot = this.#free.pop() ?? this.#newSlot();
    slot.target = target;
    const { header } = slot;
    header.writeUInt16BE(type, 6);
    header.writeUInt32BE(slot.index, 12);
    header.writeUInt32BE(Math.floor(offset / 2 ** 32), 16);
    header.writeUInt32BE(offset % 2 ** 32, 20);
    header.writeUInt32BE(length, 24);
    this.#cork();
    this.#socket.write(header);
    for (const part of parts) this.#socket.write(part);
    return new Promise((resolve, reject) => {
      slot.resolve = resolve;
      slot.reject = reject;
    });
  }

  #newSlot(): Slot {
    const header = Buffer.alloc(REQUEST_BYTES);
    header.writeUInt32BE(REQUEST_MAGIC, 0);
    const slot = {
      index: this.#slots.length,
      header,
      resolve: nobody,
      reject: nobody,
      target: NOTHING,
    };
    this.#slots.push(slot);
    return slot;
  }

  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
    process.nextTick(() => {
      this.#corked = false;
      this.#socket.uncork();
    });
  }

  #receive(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#reading === undefined) {
        const bytes = Math.min(REPLY_BYTES - this.#replyBytes, chunk.length - at);
        chunk.copy(this.#reply, this.#replyBytes, at, at + bytes);
        this.#replyBytes += bytes;
        at += bytes;
        if (this.#replyBytes === REPLY_BYTES) this.#header();
      } else {
        const { target } = this.#reading;
        const bytes = Math.min(target.length - this.#readBytes, chunk.length - at);
        chunk.copy(target, this.#readBytes, at, at + bytes);
        this.#readBytes += bytes;
        at += bytes;
        if (this.#readBytes === target.length) this.#settle(this.#reading);
      }
    }
  }

  #header(): void {
    this.#replyBytes = 0;
    const slot = this.#slots[this.#reply.readUInt32BE(12)];
    if (this.#reply.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || slot === undefined) {
      this.#socket.destroy(new Error('the server sent what is no reply'));
      return;
    }
    const errno = this.#reply.readUInt32BE(4);
    if (errno !== 0) {
      this.#free.push(slot);
      slot.reject(new Error(`the server answered with errno ${errno}`));
    } else if (slot.target.length === 0) {
      this.#settle(slot);
    } else {
      this.#reading = slot;
      this.#readBytes = 0;
    }
  }

  #settle(slot: Slot): void {
    this.#reading = undefined;
    this.#free.push(slot);
    slot.resolve(slot.target);
  }

  #fail(error: Error): void {
    if (this.#gone !== undefined) return;
    this.#gone = error;
    // Whoever has his reply already does not hear this.
    for (const slot of this.#slots) slot.reject(error);
  }
}

/** Newstyle handshake without structured replies; ends in the transmission phase. */
async function negotiate(socket: Socket, name: string): Promise<void> {
  await take(socket, GREETING_BYTES);
  socket.write(encodeClientFlags(HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes));
  socket.write(encodeOption(OPTION.go, infoData(name)));
  for (;;) {
    const { type, data } = await decodeOptionReply((bytes) => take(socket, bytes));
    if (type === OPTION_REPLY.ack) return;
    if (type >= OPTION_REPLY.errUnsupported) {
      throw new Error(`no export "${name}": ${data.toString() || `error ${type}`}`);
    }
  }
}

async function take(socket: Socket, bytes: number): Promise<Buffer> {
  if (bytes === 0) return NOTHING;
  for (;;) {
    const got = socket.read(bytes) as Buffer | null;
    if (got !== null && got.length === bytes) return got;
    if (got !== null || socket.readableEnded) throw new Error('the server closed the connection');
    const ended = new AbortController();
    await Promise.race([
      once(socket, 'readable', { signal: ended.signal }),
      once(socket, 'end', { signal: ended.signal }),
    ]).finally(() => ended.abort());
  }
}
