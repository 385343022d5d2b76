// `varve serve`: runs the daemon until a signal, or until the engine stops by itself.
//
//   stdout: one line that begins with `ready`, when every face listens; nothing else, ever
//   first SIGTERM or SIGINT: stop taking requests, make everything durable, return (exit 0)
//   second one: exit at once, with 1; what was not acknowledged may be lost, as after a crash
//   SIGUSR2: a new process takes over (server/handover); this one ends with 0 when it serves

import { StorageError } from '../base/errors.ts';
import { type Daemon, type DaemonComponents, startDaemon } from '../daemon.ts';
import { notifyReady } from '../server/handover/notify.ts';
import { openSuccession, type Succession } from '../server/handover/successor.ts';
import { createUpgrader, type Upgrader } from '../server/handover/upgrader.ts';
import { realComponents } from './components.ts';
import { EXIT_FAILED } from './exit-codes.ts';
import type { CommandContext } from './command-context.ts';
import type { Settings } from './settings.ts';

export async function runServe(settings: Settings, context: CommandContext): Promise<void> {
  if (settings.nbd.length === 0) {
    throw new StorageError('invalid', 'nothing to serve on: give --nbd HOST:PORT or unix:PATH');
  }
  const components = await realComponents(settings, context, { newPassphrase: false });
  await runDaemon(settings, components, (daemon) => context.print(readyLine(daemon)));
}

export function readyLine({ faces }: Daemon): string {
  return `ready ${faces.map(({ kind, uri }) => `${kind}=${uri}`).join(' ')}\n`;
}

/** Returns after a clean stop on a signal. Throws what stopped the engine, or what closing met. */
export async function runDaemon(
  settings: Settings,
  components: DaemonComponents,
  onReady: (daemon: Daemon) => void,
): Promise<void> {
  const { log, clock, env } = components;
  const signals = listenForSignals();
  let daemon: Daemon | undefined;
  let typed: string | undefined;
  const upgrader = createUpgrader({
    clock,
    log,
    source: () => daemon?.handover,
    passphrase: () => typed,
  });
  // Why it failed is logged, and asked for again only where this process has ended by it.
  signals.onUpgrade(() => void upgrader.upgrade(() => {}).catch(() => {}));
  const succession = await openSuccession(signals.stopLater);
  try {
    daemon = await startDaemon(settings, {
      ...components,
      upgrade: (onProgress) => upgrader.upgrade(onProgress),
      succession,
      async passphrase() {
        const passphrase = succession?.passphrase ?? (await components.passphrase());
        const found = env['VARVE_PASSPHRASE'] ?? settings.passphraseFile;
        if (found === undefined) typed = passphrase;
        return passphrase;
      },
    });
    // A signal that came while it started is acted on now: it must still close what it opened.
    if (!signals.seen()) await announce(daemon, components, onReady, succession);
    await succession?.serving();
  } catch (error) {
    await succession?.failed(error);
    signals.stop();
    throw error;
  }
  await runUntilStopped(daemon, components, signals, upgrader).finally(() => signals.stop());
}

async function announce(
  daemon: Daemon,
  { env, log }: DaemonComponents,
  onReady: (daemon: Daemon) => void,
  succession: Succession | undefined,
): Promise<void> {
  if (succession !== undefined) {
    // Who started the first process may read its output no more.
    process.stdout.removeAllListeners('error');
    process.stdout.on('error', () => {});
  }
  await notifyReady(env, log);
  onReady(daemon);
}

async function runUntilStopped(
  daemon: Daemon,
  { log, progress }: DaemonComponents,
  signals: Signals,
  upgrader: Upgrader,
): Promise<void> {
  const replaced = upgrader.replaced.then(() => true as const);
  const reason = await Promise.race([signals.first, daemon.failed, replaced]);
  if (reason === true) return;
  if (typeof reason === 'string') {
    log.info('daemon.stopping', { signal: reason });
    if (await upgrader.stop()) return upgrader.replaced;
    progress.begin('making everything durable');
    await daemon.stop().finally(() => progress.end());
    log.info('daemon.stopped');
    return;
  }
  log.error('daemon.failed', { error: reason });
  // The engine is gone already: closing is to free sockets and files, and may fail for the same
  // reason.
  await daemon.stop().catch((error: unknown) => log.warn('daemon.close.failed', { error }));
  throw reason;
}

interface Signals {
  /** The name of the first signal. */
  readonly first: Promise<NodeJS.Signals>;
  seen(): boolean;
  /** As if a first signal had come; one that comes besides is not a second. */
  readonly stopLater: () => void;
  /** What SIGUSR2 does. */
  onUpgrade(listener: () => void): void;
  stop(): void;
}

function listenForSignals(): Signals {
  let count = 0;
  let announce: (name: NodeJS.Signals) => void = () => {};
  const first = new Promise<NodeJS.Signals>((resolve) => {
    announce = resolve;
  });
  const onSignal = (name: NodeJS.Signals): void => {
    count += 1;
    if (count > 1) process.exit(EXIT_FAILED);
    announce(name);
  };
  let upgrade = (): void => {};
  const onUpgrade = (): void => upgrade();
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  process.on('SIGUSR2', onUpgrade);
  return {
    first,
    seen: () => count > 0,
    stopLater: () => announce('SIGTERM'),
    onUpgrade: (listener) => void (upgrade = listener),
    stop: () => {
      process.off('SIGUSR2', onUpgrade);
      process.off('SIGTERM', onSignal);
      process.off('SIGINT', onSignal);
    },
  };
}
