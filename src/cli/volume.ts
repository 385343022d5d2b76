// `varve volume create | list | resize | delete`: asks the running server, prints what came of it.

import type { VolumeUsageReport } from '../server/http/report.ts';
import type { CommandContext } from './command-context.ts';
import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { formatSize, parseSize } from './size.ts';
import { formatTable } from './text-table.ts';
import { whileWaiting } from './while-waiting.ts';

export async function runVolumeCreate(
  settings: Settings,
  context: CommandContext,
  name: string,
  size: string,
): Promise<void> {
  const creating = runningServer(settings).createVolume(name, parseSize(size));
  const made = await whileWaiting(`creating ${name}`, creating);
  context.print(`created ${made.name}, ${formatSize(made.sizeBytes)}\n`);
}

export async function runVolumeList(
  settings: Settings,
  context: CommandContext,
  asJson: boolean,
): Promise<void> {
  const volumes = await whileWaiting('adding up volumes', runningServer(settings).listVolumes());
  context.print(asJson ? `${JSON.stringify(volumes, null, 2)}\n` : volumeTable(volumes));
}

export interface ResizeRequest {
  readonly name: string;
  readonly size: string;
  readonly force: boolean;
}

export async function runVolumeResize(
  settings: Settings,
  context: CommandContext,
  { name, size, force }: ResizeRequest,
): Promise<void> {
  const resizing = runningServer(settings).resizeVolume(name, parseSize(size), force);
  const now = await whileWaiting(`resizing ${name}`, resizing);
  context.print(`resized ${now.name} to ${formatSize(now.sizeBytes)}\n`);
}

export async function runVolumeDelete(
  settings: Settings,
  context: CommandContext,
  name: string,
): Promise<void> {
  await whileWaiting(`deleting ${name}`, runningServer(settings).removeVolume(name));
  context.print(`deleted ${name}\n`);
}

function volumeTable(volumes: readonly VolumeUsageReport[]): string {
  if (volumes.length === 0) return 'no volumes: make one with "varve volume create NAME SIZE"\n';
  const rows = volumes.map((one) => [
    one.name,
    formatSize(one.sizeBytes),
    formatSize(one.usedBytes),
    one.description,
  ]);
  return formatTable([['NAME', 'SIZE', 'USED', 'DESCRIPTION'], ...rows], [1, 2]);
}
