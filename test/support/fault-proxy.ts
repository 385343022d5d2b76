// Stands between a client of S3 and the server, and does to requests what networks and servers do.
//
//   client ──► listener ──► decision (fault-proxy-plan.ts) ──► the same request ──► server
//                 │             └ delay, an error, a cut, twice, late, no reply, a stale listing
//                 └ dark: refused, reset, or never answered
//
// It passes the head of each request on as it came (the Host, too: signatures cover it) and streams
// bodies.

import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Exchanges } from './fault-proxy-exchange.ts';
import {
  type Fault,
  FaultPlan,
  type NextFault,
  proxySettings,
  type ProxySettingsInput,
} from './fault-proxy-plan.ts';
import { reset } from './fault-proxy-streams.ts';
import { createUpstream } from './fault-proxy-upstream.ts';

const CONNECTIONS_MAX = 1024;

export type Darkness = 'refuse' | 'reset' | 'blackHole';

export interface FaultProxyOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined: the kernel picks a free port of the loopback. */
  readonly listenPort?: number;
  readonly listenHost?: string;
  readonly seed?: number;
}

export interface FaultProxyCounters {
  readonly requests: number;
  /** Reached the server, each copy of a duplicate and each late one counted. */
  readonly forwarded: number;
  /** The server did not answer. */
  readonly serverFailures: number;
  /** Connections that met the dark, or were cut by `cut` or `dark`. */
  readonly connectionsCut: number;
  /** Faults that were due, but had no room for the body. */
  readonly skipped: number;
  readonly faults: Readonly<Partial<Record<Fault, number>>>;
}

export interface FaultProxy {
  readonly port: number;
  /** `http://127.0.0.1:PORT`. */
  readonly endpoint: string;
  /** Replaces all settings. Throws when they make no sense. */
  set(settings: ProxySettingsInput): void;
  /** The next requests that fit meet this fault, before chance has its turn. */
  next(fault: NextFault): void;
  /** Resets every connection; returns how many. */
  cut(): number;
  /** Nothing gets through, and what is under way is cut. */
  dark(how: Darkness): Promise<void>;
  light(): Promise<void>;
  counters(): FaultProxyCounters;
  close(): Promise<void>;
}

export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const proxy = new Proxy(options);
  await proxy.listen();
  return proxy;
}

class Proxy implements FaultProxy {
  readonly #options: FaultProxyOptions;
  readonly #plan: FaultPlan;
  readonly #exchanges: Exchanges;
  readonly #listener = createServer((socket) => this.#accept(socket));
  readonly #http = createHttpServer((request, response) => {
    void this.#exchanges.handle(request, response);
  });
  readonly #sockets = new Set<Socket>();
  #connectionsCut = 0;
  #darkness: Darkness | undefined;
  #port: number;

  constructor(options: FaultProxyOptions) {
    this.#options = options;
    this.#plan = new FaultPlan(options.seed ?? 1);
    this.#exchanges = new Exchanges(this.#plan, createUpstream(options.host, options.port));
    this.#port = options.listenPort ?? 0;
    this.#listener.maxConnections = CONNECTIONS_MAX;
    // Time limits are the client's business here.
    Object.assign(this.#http, { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 });
    this.#http.on('clientError', (_error, socket) => socket.destroy());
  }

  get port(): number {
    return this.#port;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#listener.once('error', reject);
      this.#listener.listen(this.#port, this.#options.listenHost ?? '127.0.0.1', () => {
        this.#listener.off('error', reject);
        resolve();
      });
    });
    this.#port = (this.#listener.address() as AddressInfo).port;
  }

  set(settings: ProxySettingsInput): void {
    this.#plan.settings = proxySettings.parse(settings);
    this.#exchanges.bandwidth.bytesPerSecond = this.#plan.settings.bytesPerSecond;
  }

  next(fault: NextFault): void {
    this.#plan.order(fault);
  }

  cut(): number {
    const count = this.#sockets.size;
    for (const socket of this.#sockets) reset(socket);
    this.#connectionsCut += count;
    return count;
  }

  async dark(how: Darkness): Promise<void> {
    if (this.#darkness !== undefined) await this.light();
    this.#darkness = how;
    const closed = how === 'refuse' ? new Promise((done) => this.#listener.close(done)) : undefined;
    this.cut();
    await closed;
  }

  async light(): Promise<void> {
    const before = this.#darkness;
    this.#darkness = undefined;
    if (before === undefined) return;
    // Those who were never answered see their connection break, and come again.
    this.cut();
    if (before === 'refuse') await this.listen();
  }

  counters(): FaultProxyCounters {
    const { counts, faults } = this.#exchanges;
    return { ...counts, connectionsCut: this.#connectionsCut, faults: { ...faults } };
  }

  async close(): Promise<void> {
    this.#exchanges.close();
    const closed = new Promise((done) => this.#listener.close(done));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {});
    if (this.#darkness !== undefined) {
      this.#connectionsCut += 1;
      if (this.#darkness !== 'blackHole') reset(socket);
      return;
    }
    socket.setNoDelay(true);
    this.#http.emit('connection', socket);
  }
}
