/** Addresses: what a string means, and what `node:net` is told. */
import { resolve } from 'node:path';
import { IpcError } from '@spanwire/ipc-core';

/** sun_path has 108 bytes on Linux and 104 on BSDs, the last one NUL. Node 20 silently binds a cut name beyond it. */
const MAX_PATH_BYTES: number = process.platform === 'linux' ? 107 : 103;

/** A parsed address. `text` is its normal form, for messages. */
export type SocketAddress =
  | { readonly kind: 'unix'; readonly text: string; readonly path: string }
  | { readonly kind: 'pipe'; readonly text: string; readonly path: string }
  | { readonly kind: 'tcp'; readonly text: string; readonly host: string; readonly port: number };

const FORMS = '"unix:/path", a path, "pipe:name", "tcp:host:port" or "tcp:port"';
/** Longer than one letter: `C:\x` is a path. */
const SCHEME = /^([a-z][a-z0-9+.-]+):/i;
const PIPE_PREFIX = '\\\\.\\pipe\\';
/** Windows: the whole name has at most 256 characters. */
const MAX_PIPE_NAME = 256 - PIPE_PREFIX.length;

/**
 * Parses `address`. Relative paths are resolved against the current directory now, so a later `chdir` changes nothing.
 * Throws TypeError or RangeError.
 */
export function parseAddress(address: unknown): SocketAddress {
  if (typeof address !== 'string' || address === '') throw mistake(address);
  const scheme = SCHEME.exec(address)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    return address.startsWith(PIPE_PREFIX) ? pipe(address.slice(PIPE_PREFIX.length), address) : unix(address, address);
  }
  const rest = address.slice(scheme.length + 1);
  if (scheme === 'unix') return unix(rest, address);
  if (scheme === 'pipe') return pipe(rest, address);
  if (scheme === 'tcp') return tcp(rest, address);
  throw mistake(address);
}

/** As {@link parseAddress}, for the side that connects: port 0 is nobody's. */
export function parseClientAddress(address: unknown): SocketAddress {
  const parsed = parseAddress(address);
  if (parsed.kind === 'tcp' && parsed.port === 0) {
    throw new RangeError(`Expected \`address\` to have a port from 1 to 65535, got ${show(address)}`);
  }
  return parsed;
}

/** What a named pipe is called on Windows. */
function windowsPipePath(name: string): string {
  return PIPE_PREFIX + name;
}

/** The normal form of a TCP address. */
export function tcpText(host: string, port: number): string {
  return host.includes(':') ? `tcp:[${host}]:${port}` : `tcp:${host}:${port}`;
}

/** What `net.connect` and `server.listen` take. Throws ERR_IPC_UNSUPPORTED where the platform lacks the kind. */
export function netOptions(
  address: SocketAddress,
  platform: NodeJS.Platform = process.platform,
): { path: string } | { host: string; port: number } {
  if (address.kind === 'tcp') return { host: address.host, port: address.port };
  const windows = platform === 'win32';
  if (address.kind === 'pipe' && !windows) {
    throw new IpcError(
      'ERR_IPC_UNSUPPORTED',
      `Named pipes exist on Windows only: use a "unix:" address instead of ${address.text}`,
    );
  }
  if (address.kind === 'unix' && windows) {
    throw new IpcError(
      'ERR_IPC_UNSUPPORTED',
      `Node has no Unix sockets on Windows: use a "pipe:" address instead of ${address.text}`,
    );
  }
  return { path: address.path };
}

/** Throws RangeError unless `path` fits a socket address. */
export function expectPathFits(what: string, path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw new RangeError(`Expected ${what} to have at most ${MAX_PATH_BYTES} bytes, got ${bytes}: ${path}`);
  }
}

function unix(text: string, address: string): SocketAddress {
  // A leading NUL is Linux's abstract namespace, which has no permissions at all.
  if (text === '' || text.includes('\0') || text.endsWith('/')) throw mistake(address);
  const path = resolve(text);
  expectPathFits('the path of `address`', path);
  return { kind: 'unix', text: `unix:${path}`, path };
}

function pipe(name: string, address: string): SocketAddress {
  // A slash is legal in a pipe's name, a backslash is not.
  if (name === '' || name.includes('\0') || name.includes('\\') || name.length > MAX_PIPE_NAME) {
    throw new TypeError(
      `Expected \`address\` to be "pipe:name" with a name of 1 to ${MAX_PIPE_NAME} characters and no backslash, got ${show(address)}`,
    );
  }
  return { kind: 'pipe', text: `pipe:${name}`, path: windowsPipePath(name) };
}

function tcp(rest: string, address: string): SocketAddress {
  const match = /^(?:(?:\[([0-9a-f:.]+(?:%[\w.-]+)?)\]|([^\s:[\]/@]+)):)?(\d{1,5})$/i.exec(rest);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw mistake(address);
  // Loopback unless told otherwise: nothing on this wire proves who the peer is.
  const host = match[1] ?? match[2] ?? '127.0.0.1';
  return { kind: 'tcp', text: tcpText(host, port), host, port };
}

function mistake(address: unknown): TypeError {
  return new TypeError(`Expected \`address\` to be ${FORMS}, got ${show(address)}`);
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 120 ? `${value.slice(0, 120)}...` : value);
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
