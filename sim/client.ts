// A client of one simulated process: does one operation after another on its volumes and tells the
// oracle when each began and ended. Clients lock the sectors that they use, so that the model knows
// what each read must return; what they do otherwise overlaps in time as it likes.
//
// A write that fails because the store does not answer is tried again with the same bytes until it
// succeeds or the process ends: until then it may be there, in part or whole, or not.

import type { Maybe } from '../src/base/maybe.ts';
import type { BlockDevice, Extent } from '../src/volume/block-device.ts';
import { drawContent } from './content.ts';
import type { Dice } from './dice.ts';
import type { Operation } from './history.ts';
import type { SimProcess } from './process.ts';
import { type Lock, VolumeModel, zeroContent } from './volume-model.ts';

const BLOCK_BYTES = 4096;
const RETRY_MS = 100;
const VOLUMES_MAX = 3;
/** Sizes are multiples of this: some end within a chunk. */
const UNIT_BYTES = 64 * 1024 + BLOCK_BYTES;
/** Past 1 MiB, from where on the engine cuts writes. */
const LONG_WRITE_BYTES = 1_200_000;

interface Range {
  readonly offset: number;
  readonly length: number;
}

export async function runClient(process: SimProcess, name: string, dice: Dice): Promise<void> {
  const client = new Client(process, name, dice);
  while (process.serving && process.simulation.takeOperation()) {
    await process.step(() => client.step());
    const { thinkMsMax } = process.simulation.plan;
    if (thinkMsMax > 0 && dice.chance(0.6)) await process.clock.sleep(dice.int(0, thinkMsMax));
  }
}

class Client {
  readonly #process: SimProcess;
  readonly #name: string;
  readonly #dice: Dice;

  constructor(process: SimProcess, name: string, dice: Dice) {
    this.#process = process;
    this.#name = name;
    this.#dice = dice;
  }

  async step(): Promise<void> {
    const dice = this.#dice;
    const { volumes } = this.#process.reign;
    const usable = [...volumes.values()].filter((volume) => volume.usableBytes > 0);
    if (usable.length === 0) return this.#create();
    if (dice.chance(0.02))
      return volumes.size < VOLUMES_MAX ? this.#create() : this.#resize(usable);
    const volume = dice.pick(usable);
    const draw = dice.rng.float();
    if (draw < 0.45) await this.#write(volume);
    else if (draw < 0.53) await this.#zero(volume);
    else if (draw < 0.78) await this.#read(volume);
    else if (draw < 0.94) await this.#barrier(volume);
    else if (draw < 0.97) await this.#status(volume);
    else await this.#prefetch(volume);
  }

  async #write(volume: VolumeModel): Promise<void> {
    const range = this.#range(volume, LONG_WRITE_BYTES);
    const lock = volume.tryLock(range.offset, range.length, true);
    if (lock === undefined) return;
    const { oracle } = this.#process.branch;
    const by = oracle.begin();
    const content = drawContent(this.#dice, by.id, range.length);
    this.#trace(`op ${by.id} write`, volume, range);
    volume.change(by, range.offset, content);
    if (this.#process.isAtomic(range.offset, range.length)) {
      const { from: fromSector, to: toSector } = lock;
      this.#process.reign.atomicWrites.push({ by, volume, fromSector, toSector });
    }
    const work = (): Maybe<void> => this.#device(volume).write(range.offset, content);
    if (await this.#persist('write', work)) this.#end(volume, lock, by);
  }

  async #zero(volume: VolumeModel): Promise<void> {
    const { offset, length } = this.#range(volume, volume.usableBytes);
    const lock = volume.tryLock(offset, length, true);
    if (lock === undefined) return;
    const by = this.#process.branch.oracle.begin();
    const isTrim = this.#dice.chance(0.5);
    const allocate = this.#dice.chance(0.5);
    this.#trace(`op ${by.id} ${isTrim ? 'trim' : 'zero'}`, volume, { offset, length });
    volume.change(by, offset, new Uint8Array(length));
    const work = (): Maybe<void> => {
      const device = this.#device(volume);
      return isTrim ? device.trim(offset, length) : device.writeZeroes(offset, length, allocate);
    };
    if (await this.#persist('zero', work)) this.#end(volume, lock, by);
  }

  #end(volume: VolumeModel, lock: Lock, by: Operation): void {
    this.#process.trace(`${this.#name} op ${by.id} done`);
    this.#process.branch.oracle.end(this.#process.reign, by);
    volume.unlock(lock);
  }

  async #read(volume: VolumeModel): Promise<void> {
    const { offset, length } = this.#range(volume, LONG_WRITE_BYTES);
    const lock = volume.tryLock(offset, length, false);
    if (lock === undefined) return;
    const target = new Uint8Array(length).fill(0xa5);
    const done = await this.#attempt('read', () => this.#device(volume).read(offset, target));
    volume.unlock(lock);
    const expected = volume.bytes.subarray(offset, offset + length);
    if (!done || Buffer.compare(target, expected) === 0) return;
    const at = target.findIndex((byte, i) => byte !== expected[i]);
    this.#fail(`read other bytes than were written, at ${volume.name} byte ${offset + at}`);
  }

  async #barrier(volume: VolumeModel): Promise<void> {
    const { simulation, branch, reign } = this.#process;
    const called = simulation.world.tick();
    if (!(await this.#attempt('barrier', () => this.#device(volume).flush()))) return;
    this.#process.trace(`${this.#name} barrier of ${called} done`);
    branch.oracle.acknowledge(reign, called, this.#process.keeper);
  }

  /** What is said to read as zeroes must be zero. */
  async #status(volume: VolumeModel): Promise<void> {
    const { offset, length } = this.#range(volume, volume.usableBytes);
    const lock = volume.tryLock(offset, length, false);
    if (lock === undefined) return;
    let extents: readonly Extent[] = [];
    const done = await this.#attempt('status', async () => {
      extents = await this.#device(volume).blockStatus(offset, length, this.#dice.int(1, 40));
    });
    volume.unlock(lock);
    if (!done) return;
    let at = offset;
    for (const { lengthBytes, zero } of extents) {
      const bytes = volume.bytes.subarray(at, at + lengthBytes);
      if (zero && bytes.some((byte) => byte !== 0)) this.#fail(`calls data zero, at byte ${at}`);
      at += lengthBytes;
    }
    if (extents.length === 0 || at > offset + length) this.#fail('gave extents of another range');
  }

  async #prefetch(volume: VolumeModel): Promise<void> {
    const { offset, length } = this.#range(volume, volume.usableBytes);
    await this.#attempt('prefetch', () => this.#device(volume).prefetch(offset, length));
  }

  async #create(): Promise<void> {
    const { simulation, reign } = this.#process;
    const name = simulation.nextVolumeName();
    const size = this.#dice.int(1, simulation.plan.volumeBytesMax / UNIT_BYTES) * UNIT_BYTES;
    const volume = new VolumeModel(name, zeroContent(size), -1);
    reign.volumes.set(name, volume);
    await this.#setSize(volume, size, () => this.#process.volumes.create(name, size));
  }

  async #resize(usable: readonly VolumeModel[]): Promise<void> {
    const volume = this.#dice.pick(usable);
    const lock = volume.tryLock(0, volume.bytes.length, true);
    if (lock === undefined) return;
    const size = volume.bytes.length + this.#dice.int(1, 8) * UNIT_BYTES;
    volume.growTo(size);
    const work = (): Promise<unknown> =>
      this.#process.volumes.resize(volume.name, size, { force: false });
    await this.#setSize(volume, size, work);
    volume.unlock(lock);
  }

  /** A change of volumes is durable when it returns; one that fails may be there or not. */
  async #setSize(volume: VolumeModel, size: number, work: () => Promise<unknown>): Promise<void> {
    const { oracle } = this.#process.branch;
    const by = oracle.begin();
    const settled = this.#process.simulation.world.tick();
    volume.sizes.push({ key: size, by });
    this.#process.trace(`${this.#name} op ${by.id} ${volume.name} gets ${size} bytes`);
    const done = await this.#attempt('resize', async () => {
      await work();
    });
    if (!done) return;
    oracle.endDurable(this.#process.reign, by, settled, this.#process.keeper);
    volume.usableBytes = size;
  }

  /** Does `work` again and again until it succeeds; false when the process is over first. */
  async #persist(what: string, work: () => Maybe<void>): Promise<boolean> {
    for (;;) {
      if (await this.#attempt(what, work)) return true;
      if (!this.#process.serving) return false;
      await this.#process.clock.sleep(RETRY_MS);
    }
  }

  async #attempt(what: string, work: () => Maybe<void>): Promise<boolean> {
    const process = this.#process;
    try {
      const working = work();
      if (working !== undefined) await working;
      return true;
    } catch (error) {
      if (process.judge(error, `${this.#name} ${what}`) === 'over') process.retire();
      return false;
    }
  }

  #device(volume: VolumeModel): BlockDevice {
    return this.#process.device(volume.name, volume.usableBytes);
  }

  #range(volume: VolumeModel, longBytes: number): Range {
    const dice = this.#dice;
    const size = volume.usableBytes;
    const isLong = dice.chance(0.03);
    if (dice.chance(this.#process.simulation.plan.alignedRate)) {
      const blocks = size / BLOCK_BYTES;
      const count = Math.min(blocks, dice.skewed(1, isLong ? longBytes / BLOCK_BYTES : 24));
      const first = dice.int(0, blocks - count);
      return { offset: first * BLOCK_BYTES, length: count * BLOCK_BYTES };
    }
    const length = Math.min(size, dice.skewed(1, isLong ? longBytes : 3 * BLOCK_BYTES));
    // Few places, so that clients meet in one block.
    const near = dice.chance(0.5) ? Math.min(size - length, 4 * BLOCK_BYTES) : size - length;
    return { offset: dice.int(0, near), length };
  }

  #trace(what: string, { name }: VolumeModel, { offset, length }: Range): void {
    this.#process.trace(`${this.#name} ${what} ${name} ${offset}+${length}`);
  }

  #fail(what: string): void {
    this.#process.simulation.world.fail(`${this.#name} ${what}`);
  }
}
