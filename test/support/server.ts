// One `varve serve` with a store, a state directory and a Unix socket of its own, for tests and
// the demo: started, killed, restarted.

import { join } from 'node:path';
import { statusReport, type StatusReport } from '../../src/server/http/report.ts';
import { createVarveBox, type Finished, type VarveServer } from './varve-process.ts';

export interface ServerOptions {
  /** Default: a directory in the server's own folder. */
  readonly store?: string;
  /** Name → size. Default: `disk` of 64 MiB. */
  readonly volumes?: Readonly<Record<string, string>>;
  /** More flags of `init`; `false` when the store is there already. */
  readonly init?: readonly string[] | false;
  /** More flags of `serve`. */
  readonly flags?: readonly string[];
  /** Flags of both, such as the endpoint of an S3 server. */
  readonly storeFlags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Not ended by Ctrl-C in the terminal: whoever started it ends it. */
  readonly detached?: boolean;
}

export interface TestServer {
  /** Holds everything of it. */
  readonly dir: string;
  readonly stateDir: string;
  /** The store, when it is a directory. */
  readonly storeDir: string;
  /** Of the volume `disk`. */
  readonly uri: string;
  /** Of the running process. */
  readonly pid: number;
  uriOf(volume: string): string;
  /** Runs another command with the same passphrase and state directory. */
  run(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Finished>;
  /** The same, and it must succeed; resolves with stdout. */
  command(...args: string[]): Promise<string>;
  status(): Promise<StatusReport>;
  /** Resolves with what `varve fsck` printed; rejects when it found anything. */
  fsck(...flags: string[]): Promise<string>;
  /** SIGKILL; resolves when the process is gone. */
  kill9(): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<Finished>;
  /** Resolves with how it ended, whoever ended it. */
  readonly ended: Promise<Finished>;
  /** Starts it again on the same store. It must not be running. */
  restart(more?: readonly string[]): Promise<void>;
  /** Starts no server, only shows how one that cannot start ends. */
  serveToEnd(more: readonly string[], env?: Readonly<Record<string, string>>): Promise<Finished>;
  /** Kills what still runs and removes the folder. */
  remove(): Promise<void>;
}

/** Creates the store and serves it. Whatever fails on the way leaves nothing behind. */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const box = await createVarveBox({ detached: options.detached ?? false });
  Object.assign(box.env, options.env);
  const storeDir = join(box.dir, 'store');
  const storeFlags = [
    '--store',
    options.store ?? `file:${storeDir}`,
    ...(options.storeFlags ?? []),
  ];
  const stateDir = join(box.dir, 'state');
  const socket = join(box.dir, 'nbd.sock');
  const serveFlags = [
    ...storeFlags,
    '--state',
    stateDir,
    '--nbd',
    `unix:${socket}`,
    ...Object.entries(options.volumes ?? { disk: '64M' }).flatMap((one) => [
      '--volume',
      one.join('='),
    ]),
    ...(options.flags ?? []),
  ];
  let running: VarveServer;

  async function start(more: readonly string[] = []): Promise<void> {
    running = await box.serve([...serveFlags, ...more]);
  }

  const command = async (...args: string[]): Promise<string> =>
    printed(args, await server.run(args));

  const server: TestServer = {
    dir: box.dir,
    stateDir,
    storeDir,
    uri: uriOf('disk'),
    get pid() {
      return running.child.pid!;
    },
    uriOf,
    run: (args, env) => box.run([...args, '--state', stateDir], env),
    command,
    status: async () => statusReport.parse(JSON.parse(await command('status', '--json'))),
    fsck: async (...flags) => {
      const args = ['fsck', ...storeFlags, ...flags];
      return printed(args, await box.run(args));
    },
    kill9: async () => void (await running.stop('SIGKILL')),
    stop: (signal) => running.stop(signal),
    get ended() {
      return running.finished;
    },
    restart: (more) => start(more),
    serveToEnd: (more, env) => box.run(['serve', ...serveFlags, ...more], env),
    remove: () => box.remove(),
  };

  function uriOf(volume: string): string {
    return `nbd+unix:///${encodeURIComponent(volume)}?socket=${socket}`;
  }

  try {
    if (options.init !== false) {
      const { code, stderr } = await box.run(['init', ...storeFlags, ...(options.init ?? [])]);
      if (code !== 0) throw new Error(`varve init exited with ${code}: ${stderr}`);
    }
    await start();
    return server;
  } catch (error) {
    await box.remove();
    throw error;
  }
}

function printed(args: readonly string[], { code, stdout, stderr }: Finished): string {
  if (code === 0) return stdout;
  throw new Error(`varve ${args.join(' ')} exited with ${code}: ${stderr}${stdout}`);
}
