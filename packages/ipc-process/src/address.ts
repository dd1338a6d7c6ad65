/** What addresses mean: Bitcoin Core's forms, and those of any transport by its scheme. */
import { isAbsolute, join, resolve } from 'node:path';
import { show } from '@spanwire/ipc-core';

export interface AddressSettings {
  readonly dataDir: string | undefined;
  /** The file of the address `unix`. */
  readonly socketName: string;
}

/** A resolved address. `text` is what a transport takes and what is reported. */
export interface ResolvedAddress {
  readonly scheme: string;
  readonly text: string;
  /** The socket file of a Unix address. */
  readonly path: string | undefined;
}

/** Two or more letters: `C:\x` has no scheme. */
const SCHEME = /^([a-z][a-z0-9+.-]+):/i;

/** Whether `address` says that there is to be no connection. */
export function isDisabled(address: string): boolean {
  return address === '' || address === '0';
}

/** Resolves `unix`, `unix:PATH` and `SCHEME:...`. Throws TypeError on anything else and on schemes not in `schemes`. */
export function resolveAddress(
  address: unknown,
  settings: AddressSettings,
  schemes: readonly string[],
): ResolvedAddress {
  if (typeof address !== 'string') throw mistake(address, schemes);
  if (address === 'unix' || address === 'unix:') return unix(join(dataDir(settings, address), settings.socketName));
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length);
    return unix(isAbsolute(path) ? path : join(dataDir(settings, address), path));
  }
  const scheme = SCHEME.exec(address)?.[1]?.toLowerCase();
  if (scheme === undefined || !schemes.includes(scheme)) throw mistake(address, schemes);
  return { scheme, text: address, path: undefined };
}

function unix(path: string): ResolvedAddress {
  const full = resolve(path);
  return { scheme: 'unix', text: `unix:${full}`, path: full };
}

function dataDir(settings: AddressSettings, address: string): string {
  if (settings.dataDir !== undefined) return settings.dataDir;
  throw new TypeError(`Expected \`dataDir\` to be given for the address ${show(address)}, got undefined`);
}

function mistake(address: unknown, schemes: readonly string[]): TypeError {
  const forms = schemes.filter((scheme) => scheme !== 'unix').map((scheme) => `, "${scheme}:..."`);
  return new TypeError(`Expected \`address\` to be "unix", "unix:PATH"${forms.join('')}, got ${show(address)}`);
}
