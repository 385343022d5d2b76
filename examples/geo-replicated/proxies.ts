// What stands between clients and the database that is primary.
//
//   clients ─ PgBouncer ─ HAProxy ─┬─ the primary
//                                  └─ the standby: checked, and led to once it is primary
//
// HAProxy also is the fence to clients: a server in maintenance gets none, whatever it says of
// itself, until somebody says that it is ready.

import { once } from 'node:events';
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { freePorts } from '../../test/support/free-ports.ts';
import { PostgresClient } from '../postgres/client.ts';
import { Service } from './service.ts';

export interface ProxiedDatabase {
  readonly name: string;
  readonly port: number;
}

/** Of PostgreSQL's protocol 3.0, for the check in haproxy.cfg. */
const CHECK = {
  STARTUP: message('', `\0\x03\0\0user\0postgres\0database\0postgres\0\0`),
  QUERY: message('Q', 'SELECT pg_is_in_recovery()\0'),
} as const;

export class Proxies {
  /** Asks the primary, whichever that is. */
  readonly client: PostgresClient;
  readonly #socket: string;
  readonly #services: readonly Service[];

  private constructor(client: PostgresClient, socket: string, services: readonly Service[]) {
    this.client = client;
    this.#socket = socket;
    this.#services = services;
  }

  /** The user of PostgreSQL may enter `dir`, which is made. One of the databases is primary. */
  static async start(
    dir: string,
    [first, second]: readonly [ProxiedDatabase, ProxiedDatabase],
    signal: AbortSignal,
  ): Promise<Proxies> {
    const [proxyPort, poolPort] = await freePorts();
    const client = new PostgresClient({ runDir: dir, port: poolPort, signal });
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const { uid, gid } = client.user;
    if (uid !== undefined && gid !== undefined) await chown(dir, uid, gid);
    const values = {
      ...CHECK,
      RUN: dir,
      PROXY_PORT: String(proxyPort),
      POOL_PORT: String(poolPort),
      FIRST: first.name,
      FIRST_PORT: String(first.port),
      SECOND: second.name,
      SECOND_PORT: String(second.port),
    };
    const socket = join(dir, 'haproxy.sock');
    const haproxy = await Service.start({
      program: 'haproxy',
      args: ['-db', '-f', await fillIn('haproxy.cfg', dir, values)],
      cwd: dir,
      log: join(dir, 'haproxy.log'),
      isReady: () => ask(socket, 'show info'),
    });
    try {
      const pgbouncer = await Service.start({
        program: 'pgbouncer',
        args: [await fillIn('pgbouncer.ini', dir, values)],
        cwd: dir,
        log: join(dir, 'pgbouncer.log'),
        isReady: () => client.query('SELECT 1'),
      });
      return new Proxies(client, socket, [pgbouncer, haproxy]);
    } catch (error) {
      await haproxy.end();
      throw error;
    }
  }

  /** What HAProxy knows of a database: `UP`, `DOWN`, `MAINT`, `UP 1/3` on the way. */
  async state(name: string): Promise<string> {
    const [header, ...rows] = (await ask(this.#socket, 'show stat')).split('\n').map(cells);
    const column = (title: string): number => header!.indexOf(title);
    const [proxies, servers, states] = [column('# pxname'), column('svname'), column('status')];
    const row = rows.find((one) => one[proxies] === 'databases' && one[servers] === name);
    if (row === undefined) throw new Error(`HAProxy has no server ${name}`);
    return row[states]!;
  }

  /** From now on nobody is led to it, whatever it says; sessions that were are cut. */
  async fence(name: string): Promise<void> {
    await this.#tell(`set server databases/${name} state maint`);
    await this.#tell(`shutdown sessions server databases/${name}`);
  }

  /** It may be led to again, as soon as it is primary. */
  async admit(name: string): Promise<void> {
    await this.#tell(`set server databases/${name} state ready`);
  }

  async end(): Promise<void> {
    for (const service of this.#services) await service.end();
  }

  async #tell(command: string): Promise<void> {
    const said = (await ask(this.#socket, command)).trim();
    if (said !== '') throw new Error(`HAProxy, told "${command}", said: ${said}`);
  }
}

/** One command to HAProxy's socket; it closes behind its answer. */
async function ask(socket: string, command: string): Promise<string> {
  const connection = connect(socket);
  await once(connection, 'connect');
  connection.end(`${command}\n`);
  return await text(connection);
}

function cells(line: string): readonly string[] {
  return line.split(',');
}

/** Resolves with the path of the copy. */
async function fillIn(
  name: string,
  dir: string,
  values: Readonly<Record<string, string>>,
): Promise<string> {
  const template = await readFile(join(import.meta.dirname, name), 'utf8');
  const file = join(dir, name);
  await writeFile(
    file,
    template.replaceAll(/\$\{([A-Z_]+)\}/g, (_, key: string) => {
      const value = values[key];
      if (value === undefined) throw new Error(`${name}: what is ${key}?`);
      return value;
    }),
  );
  return file;
}

/** Type, length (which counts itself), body: in hex. */
function message(type: string, body: string): string {
  const bytes = Buffer.from(body, 'latin1');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length + 4);
  return Buffer.concat([Buffer.from(type), length, bytes]).toString('hex');
}
