// A client that sends exactly the bytes it is told to, over a real socket.

import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import {
  COMMAND_FLAG,
  HANDSHAKE_FLAG,
  INFO,
  OPTION,
  OPTION_REPLY,
} from '../../src/proto/nbd/constants.ts';
import type { NbdAddress } from '../../src/server/nbd/address.ts';
import {
  contextData,
  decodeOptionReply,
  decodeReply,
  encodeClientFlags,
  encodeOption,
  encodeRequest,
  errnoOfChunk,
  infoData,
} from './client-codec.ts';
import type { ChunkReply, ClientRequest, OptionReply, SimpleReply } from './client-codec.ts';

export type Mode = 'simple' | 'structured' | 'extended';

/** What a WRITE carries: extended headers flag a payload. */
export function writeFlags(mode: Mode): number {
  return mode === 'extended' ? COMMAND_FLAG.payloadLength : 0;
}

export interface Negotiation {
  readonly name?: string;
  readonly mode?: Mode;
  readonly context?: boolean;
  readonly aligned?: boolean;
}

interface Waiter {
  readonly bytes: number;
  readonly resolve: (bytes: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class RawClient {
  readonly socket: Socket;
  /** Resolves when the server has closed its side. */
  readonly closed: Promise<void>;
  #received = Buffer.alloc(0);
  #waiters: Waiter[] = [];
  #over = false;
  #extended = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#serve();
    });
    socket.on('error', () => {});
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    const end = (): void => {
      this.#over = true;
      this.#serve();
      resolve();
    };
    socket.on('end', end);
    socket.on('close', end);
  }

  static connect(address: NbdAddress): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ ...address, allowHalfOpen: true });
      socket.once('error', reject);
      const client = new RawClient(socket);
      socket.once('connect', () => resolve(client));
    });
  }

  /** Says STARTTLS and goes on over TLS, as another client. */
  async startTls(options: ConnectionOptions): Promise<RawClient> {
    const [reply] = await this.option(OPTION.startTls);
    if (reply?.type !== OPTION_REPLY.ack) throw new Error(`STARTTLS got ${reply?.type}`);
    this.socket.removeAllListeners('data');
    return new Promise((resolve, reject) => {
      const secure = connectTls({ servername: 'localhost', ...options, socket: this.socket });
      secure.once('error', reject);
      // In TLS 1.3 a client that is refused learns it with the first bytes.
      secure.once('secureConnect', () => resolve(new RawClient(secure)));
    });
  }

  #serve(): void {
    while (this.#waiters.length > 0) {
      const next = this.#waiters[0]!;
      if (this.#received.length >= next.bytes) {
        this.#waiters.shift();
        next.resolve(this.#received.subarray(0, next.bytes));
        this.#received = this.#received.subarray(next.bytes);
      } else if (this.#over) {
        this.#waiters.shift();
        next.reject(new Error('the server closed the connection'));
      } else return;
    }
  }

  /** Bytes received and not taken. */
  get pending(): number {
    return this.#received.length;
  }

  take = (bytes: number): Promise<Buffer> => {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ bytes, resolve, reject });
      this.#serve();
    });
  };

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Greeting and client flags. */
  async greet(
    flags: number = HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes,
  ): Promise<Buffer> {
    const greeting = await this.take(18);
    this.send(encodeClientFlags(flags));
    return greeting;
  }

  /** All replies to one option; the last is an ACK or an error. */
  async option(option: number, data?: Uint8Array): Promise<OptionReply[]> {
    this.send(encodeOption(option, data));
    return this.optionReplies();
  }

  async optionReplies(): Promise<OptionReply[]> {
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = await decodeOptionReply(this.take);
      replies.push(reply);
      if (reply.type === OPTION_REPLY.ack || reply.type >= 2 ** 31) return replies;
    }
  }

  /** The whole handshake, to the transmission phase. Returns the replies to GO. */
  async negotiate(how: Negotiation = {}): Promise<OptionReply[]> {
    const name = how.name ?? 'disk';
    await this.greet();
    if (how.mode === 'structured') await this.option(OPTION.structuredReply);
    if (how.mode === 'extended') await this.option(OPTION.extendedHeaders);
    this.#extended = how.mode === 'extended';
    if (how.context === true) {
      await this.option(OPTION.setMetaContext, contextData(name, ['base:allocation']));
    }
    return this.option(OPTION.go, infoData(name, how.aligned === true ? [INFO.blockSize] : []));
  }

  request(request: ClientRequest, payload: Uint8Array = Buffer.alloc(0)): void {
    this.send(encodeRequest(request, this.#extended), payload);
  }

  reply(): Promise<SimpleReply | ChunkReply> {
    return decodeReply(this.take);
  }

  /**
   * Sends a request and returns its errno; the reply must be one simple reply or one final chunk.
   */
  async status(request: ClientRequest, payload?: Uint8Array): Promise<number> {
    this.request(request, payload);
    const reply = await this.reply();
    if (reply.kind === 'simple') return reply.errno;
    if (!reply.done) throw new Error('a single chunk was expected');
    return reply.type >= 2 ** 15 ? errnoOfChunk(reply) : 0;
  }

  destroy(): void {
    this.socket.destroy();
  }
}
