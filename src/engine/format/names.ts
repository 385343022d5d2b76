// Names of the objects in a store. Numbers are zero-padded so that a listing is in numeric order.

/** 12 decimal digits: at a thousand log objects a second, thirty years. */
const NUMBER_DIGITS = 12;
/**
 * Ids of tables and data objects carry their writer's epoch in the high part, so they may be
 * larger.
 */
const TABLE_ID_DIGITS = 16;

export const FORMAT_NAME = 'format.json';
export const KEYS_PREFIX = 'keys/';
export const BRANCH_INDEX_PREFIX = 'branches/index/';

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, '0');
}

export function branchIndexName(number: number): string {
  return `${BRANCH_INDEX_PREFIX}${pad(number, NUMBER_DIGITS)}`;
}

export function manifestPrefix(branch: string): string {
  return `branches/${branch}/manifest/`;
}

export function manifestName(branch: string, number: number): string {
  return manifestPrefix(branch) + pad(number, NUMBER_DIGITS);
}

export function logPrefix(branch: string): string {
  return `branches/${branch}/log/`;
}

export function logName(branch: string, number: number): string {
  return logPrefix(branch) + pad(number, NUMBER_DIGITS);
}

export function branchPrefix(branch: string): string {
  return `branches/${branch}/`;
}

export function tablePrefix(branch: string): string {
  return `branches/${branch}/tables/`;
}

export function tableName(branch: string, id: number): string {
  return tablePrefix(branch) + pad(id, TABLE_ID_DIGITS);
}

export function dataPrefix(branch: string): string {
  return `branches/${branch}/data/`;
}

/** A data object: blocks that the collector moved together. */
export function dataName(branch: string, id: number): string {
  return dataPrefix(branch) + pad(id, TABLE_ID_DIGITS);
}

export function readersPrefix(branch: string): string {
  return `branches/${branch}/readers/`;
}

/** A reader's lease; `reader` is the reader's random id, `number` counts its renewals. */
export function leaseName(branch: string, reader: string, number: number): string {
  return `${readersPrefix(branch)}${reader}/${pad(number, NUMBER_DIGITS)}`;
}

/** The number at the end of a listed name, or undefined when the name is not one of ours. */
export function numberOf(name: string): number | undefined {
  const text = name.slice(name.lastIndexOf('/') + 1);
  return /^\d{4,16}$/.test(text) ? Number(text) : undefined;
}
