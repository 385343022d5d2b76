// The handshake phase of one connection: answers options until one enters the transmission phase
// (option-reader.ts cuts them out of the byte stream).
//
// EXPORT_NAME and GO open the device. STARTTLS ends this handshake: a second one begins behind the
// client's flags, over TLS, and knows nothing of what was negotiated in clear.

import { messageOf, isStorageError } from '../../base/errors.ts';
import { CONTEXT_BASE_ALLOCATION, INFO, OPTION, OPTION_REPLY } from '../../proto/nbd/constants.ts';
import {
  encodeExportNameReply,
  encodeGreeting,
  encodeOptionReply,
} from '../../proto/nbd/handshake.ts';
import {
  decodeInfoOption,
  decodeMetaContextOption,
  decodeText,
  encodeBlockSizeInfo,
  encodeExportInfo,
  encodeMessage,
  encodeMetaContext,
  encodeServerEntry,
  encodeTextInfo,
  listsBaseAllocation,
  setsBaseAllocation,
} from '../../proto/nbd/options.ts';
import type { BlockDevice, BlockDeviceDirectory } from '../../volume/block-device.ts';
import { OPTION_BYTES_MAX } from './limits.ts';
import { OptionReader, type OptionTaker } from './option-reader.ts';
import type { Phase, PhaseHost } from './phase.ts';
import type { ReplyStream } from './reply-stream.ts';
import { ALLOCATION_CONTEXT_ID, exportFlags } from './session.ts';
import type { ReplyMode } from './session.ts';

const NOTHING = new Uint8Array(0);

/** What a client may say before it has TLS where that is required. */
const WITHOUT_TLS: ReadonlySet<number> = new Set([OPTION.startTls, OPTION.abort]);

export interface HandshakeDeps {
  readonly directory: BlockDeviceDirectory;
  readonly stream: ReplyStream;
  readonly host: PhaseHost;
  readonly tls: HandshakeTls;
}

/**
 * `off`: it is not to be had; `offered`; `required`: without it the client gets nothing; `active`:
 * it is in use.
 */
export type HandshakeTls = 'off' | 'offered' | 'required' | 'active';

export class Handshake implements Phase, OptionTaker {
  readonly idle = true;
  readonly full = false;
  readonly #directory: BlockDeviceDirectory;
  readonly #stream: ReplyStream;
  readonly #host: PhaseHost;
  readonly #tls: HandshakeTls;
  readonly #reader = new OptionReader(this);
  #option = 0;
  #noZeroes = false;
  #mode: ReplyMode = 'simple';
  /** The export whose `base:allocation` was selected last. */
  #contextExport: string | undefined;
  #stopping = false;
  #over = false;

  constructor(deps: HandshakeDeps) {
    this.#directory = deps.directory;
    this.#stream = deps.stream;
    this.#host = deps.host;
    this.#tls = deps.tls;
  }

  /** The server speaks first. */
  greet(): void {
    this.#stream.append(encodeGreeting());
  }

  /** Begins behind the client's flags, which were sent in clear. */
  resume(noZeroes: boolean): void {
    this.#noZeroes = noZeroes;
    this.#reader.skipFlags();
  }

  stop(): void {
    this.#stopping = true;
  }

  close(): void {
    this.#over = true;
  }

  consume(chunk: Buffer, start: number): number {
    return this.#reader.read(chunk, start);
  }

  get sated(): boolean {
    return this.#over || this.#host.blocked;
  }

  takeFlags(noZeroes: boolean): void {
    this.#noZeroes = noZeroes;
  }

  refuseTooBig(option: number): void {
    this.#option = option;
    this.#error(OPTION_REPLY.errTooBig, `option data are limited to ${OPTION_BYTES_MAX} bytes`);
  }

  fail(why: string): void {
    this.#over = true;
    this.#host.fail(why);
  }

  takeOption(option: number, data: Uint8Array): void {
    this.#option = option;
    try {
      this.#runOption(data);
    } catch (error) {
      // What the client sent is at fault, or the export cannot be opened; both have a reply of
      // their own.
      if (!isStorageError(error)) throw error;
      if (this.#option === OPTION.exportName) return this.fail(messageOf(error));
      this.#error(replyTypeOf(error.kind), messageOf(error));
    }
  }

  #runOption(data: Uint8Array): void {
    if (this.#stopping && this.#option !== OPTION.abort) {
      if (this.#option === OPTION.exportName) return this.fail('the server is shutting down');
      return this.#error(OPTION_REPLY.errShutdown, 'the server is shutting down');
    }
    if (this.#tls === 'required' && !WITHOUT_TLS.has(this.#option)) {
      if (this.#option === OPTION.exportName) return this.fail('TLS is required');
      return this.#error(OPTION_REPLY.errTlsRequired, 'this listener requires TLS');
    }
    switch (this.#option) {
      case OPTION.exportName:
        return this.#exportName(data);
      case OPTION.startTls:
        return this.#startTls(data);
      case OPTION.abort:
        this.#reply(OPTION_REPLY.ack, NOTHING);
        this.#over = true;
        return this.#host.finish();
      case OPTION.list:
        return this.#list(data);
      case OPTION.info:
      case OPTION.go:
        return this.#info(data);
      case OPTION.structuredReply:
        return this.#structuredReply(data);
      case OPTION.extendedHeaders:
        if (!this.#expectNothing(data)) return;
        this.#mode = 'extended';
        return this.#reply(OPTION_REPLY.ack, NOTHING);
      case OPTION.listMetaContext:
      case OPTION.setMetaContext:
        return this.#metaContext(data);
      default:
        return this.#error(OPTION_REPLY.errUnsupported, 'this server does not know the option');
    }
  }

  #reply(type: number, data: Uint8Array): void {
    this.#stream.append(encodeOptionReply(this.#option, type, data));
  }

  #error(type: number, message: string): void {
    this.#reply(type, encodeMessage(message));
  }

  #expectNothing(data: Uint8Array): boolean {
    if (data.length === 0) return true;
    this.#error(OPTION_REPLY.errInvalid, 'the option takes no data');
    return false;
  }

  /** The empty name stands for the only export, if there is exactly one. */
  #resolve(name: string): string {
    if (name !== '') return name;
    const exports = this.#directory.list();
    return exports.length === 1 ? exports[0]!.name : '';
  }

  #exportName(data: Uint8Array): void {
    if (this.#mode === 'extended') return this.fail('EXPORT_NAME after extended headers');
    const device = this.#directory.open(this.#resolve(decodeText(data)));
    const flags = exportFlags(device.readOnly, this.#mode, false);
    this.#stream.append(encodeExportNameReply(device.sizeBytes, flags, this.#noZeroes));
    this.#enter(device, false);
  }

  #enter(device: BlockDevice, aligned: boolean): void {
    this.#over = true;
    const allocationContext = this.#contextExport === device.name;
    this.#host.enterTransmission({ device, mode: this.#mode, allocationContext, aligned });
  }

  #startTls(data: Uint8Array): void {
    if (!this.#expectNothing(data)) return;
    if (this.#tls === 'off') {
      return this.#error(OPTION_REPLY.errPolicy, 'TLS is not configured on this listener');
    }
    if (this.#tls === 'active') {
      return this.#error(OPTION_REPLY.errInvalid, 'TLS is in use already');
    }
    this.#reply(OPTION_REPLY.ack, NOTHING);
    this.#over = true;
    this.#host.startTls(this.#noZeroes);
  }

  #list(data: Uint8Array): void {
    if (!this.#expectNothing(data)) return;
    for (const { name, description } of this.#directory.list()) {
      this.#reply(OPTION_REPLY.server, encodeServerEntry(name, description));
    }
    this.#reply(OPTION_REPLY.ack, NOTHING);
  }

  #info(data: Uint8Array): void {
    const { name, infos } = decodeInfoOption(data);
    const device = this.#directory.open(this.#resolve(name));
    const go = this.#option === OPTION.go;
    const statusPayload = this.#contextExport === device.name;
    const flags = exportFlags(device.readOnly, this.#mode, statusPayload);
    this.#reply(OPTION_REPLY.info, encodeExportInfo(device.sizeBytes, flags));
    if (infos.has(INFO.name)) {
      this.#reply(OPTION_REPLY.info, encodeTextInfo(INFO.name, device.name));
    }
    if (infos.has(INFO.description) && device.description !== '') {
      this.#reply(OPTION_REPLY.info, encodeTextInfo(INFO.description, device.description));
    }
    if (infos.has(INFO.blockSize)) this.#reply(OPTION_REPLY.info, encodeBlockSizeInfo());
    this.#reply(OPTION_REPLY.ack, NOTHING);
    if (go) this.#enter(device, infos.has(INFO.blockSize));
    else device.close();
  }

  #structuredReply(data: Uint8Array): void {
    if (!this.#expectNothing(data)) return;
    if (this.#mode === 'extended') {
      const type = OPTION_REPLY.errExtendedHeadersRequired;
      return this.#error(type, 'extended headers are in use already');
    }
    this.#mode = 'structured';
    this.#reply(OPTION_REPLY.ack, NOTHING);
  }

  #metaContext(data: Uint8Array): void {
    const sets = this.#option === OPTION.setMetaContext;
    // A SET replaces what was selected before, also when it fails.
    if (sets) this.#contextExport = undefined;
    if (this.#mode === 'simple') {
      return this.#error(OPTION_REPLY.errInvalid, 'negotiate structured replies first');
    }
    const { name, queries } = decodeMetaContextOption(data);
    const device = this.#directory.open(this.#resolve(name));
    const exportName = device.name;
    device.close();
    if (sets ? setsBaseAllocation(queries) : listsBaseAllocation(queries)) {
      const id = sets ? ALLOCATION_CONTEXT_ID : 0;
      this.#reply(OPTION_REPLY.metaContext, encodeMetaContext(id, CONTEXT_BASE_ALLOCATION));
      if (sets) this.#contextExport = exportName;
    }
    this.#reply(OPTION_REPLY.ack, NOTHING);
  }
}

function replyTypeOf(kind: string): number {
  if (kind === 'notFound') return OPTION_REPLY.errUnknown;
  if (kind === 'invalid') return OPTION_REPLY.errInvalid;
  return kind === 'aborted' || kind === 'fenced'
    ? OPTION_REPLY.errShutdown
    : OPTION_REPLY.errPolicy;
}
