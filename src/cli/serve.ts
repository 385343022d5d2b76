// `varve serve`: runs the daemon until a signal, or until the engine stops by itself.
//
//   stdout: one line that begins with `ready`, when every face listens; nothing else, ever
//   first SIGTERM or SIGINT: stop taking requests, make everything durable, return (exit 0)
//   second one: exit at once, with 1; what was not acknowledged may be lost, as after a crash

import { StorageError } from '../base/errors.ts';
import { type Daemon, type DaemonComponents, startDaemon } from '../daemon.ts';
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
  const { log } = components;
  const signals = listenForSignals();
  try {
    const daemon = await startDaemon(settings, components);
    // A signal that came while it started is acted on now: it must still close what it opened.
    if (!signals.seen()) onReady(daemon);
    const reason = await Promise.race([signals.first, daemon.failed]);
    if (typeof reason === 'string') {
      log.info('daemon.stopping', { signal: reason });
      components.progress.begin('making everything durable');
      await daemon.stop().finally(() => components.progress.end());
      log.info('daemon.stopped');
      return;
    }
    log.error('daemon.failed', { error: reason });
    // The engine is gone already: closing is to free sockets and files, and may fail for the same
    // reason.
    await daemon.stop().catch((error: unknown) => log.warn('daemon.close.failed', { error }));
    throw reason;
  } finally {
    signals.stop();
  }
}

interface Signals {
  /** The name of the first signal. */
  readonly first: Promise<NodeJS.Signals>;
  seen(): boolean;
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
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return {
    first,
    seen: () => count > 0,
    stop: () => {
      process.off('SIGTERM', onSignal);
      process.off('SIGINT', onSignal);
    },
  };
}
