/** The payload of an error frame: UTF-8 JSON `{ name, message, code }`, never a stack. */
import { IpcError, isIpcErrorCode, RemoteError } from './errors.ts';

/** Longer ones are cut. */
const MAX_MESSAGE_CHARACTERS = 8192;
const MAX_NAME_CHARACTERS = 256;
/** What every window passes in one piece. */
const ALWAYS_FITS_BYTES = 1024;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/** Encodes what a handler threw, in at most `maxBytes`: an error goes out in one piece, so it is cut to fit. */
export function encodeFailure(error: unknown, maxBytes: number): Uint8Array {
  return encode(describe(error), maxBytes);
}

/**
 * Encodes an error that Spanwire itself answers with (refused, cancelled, ...). It says so, because a handler may throw an IpcError that
 * it got elsewhere, and that one must not be taken for ours.
 */
export function encodeOwnError(error: IpcError): Uint8Array {
  return encode({ ...describe(error), by: 'spanwire' }, ALWAYS_FITS_BYTES);
}

/** The error that an error frame's payload stands for: a {@link RemoteError}, or an {@link IpcError} of Spanwire's own. */
export function decodeFailure(payload: Uint8Array): IpcError {
  let parsed: unknown;
  try {
    parsed = JSON.parse(fromUtf8.decode(payload));
  } catch {
    parsed = undefined;
  }
  const fields: { name?: unknown; message?: unknown; code?: unknown; by?: unknown } =
    typeof parsed === 'object' && parsed !== null
      ? parsed
      : { message: 'The other side failed and sent no readable reason' };
  const name = typeof fields.name === 'string' ? fields.name : 'Error';
  const message = typeof fields.message === 'string' ? fields.message : '';
  const code = typeof fields.code === 'string' ? fields.code : undefined;
  if (fields.by === 'spanwire' && isIpcErrorCode(code) && code !== 'ERR_IPC_REMOTE') return new IpcError(code, message);
  return new RemoteError({ name, message, code });
}

interface Failure {
  name: string;
  message: string;
  code?: string;
  by?: 'spanwire';
}

function describe(error: unknown): Failure {
  try {
    if (error instanceof IpcError) {
      return { name: error.name, message: error.message, code: error.code };
    }
    if (typeof error === 'object' && error !== null) {
      const { name, message, code } = error as { name?: unknown; message?: unknown; code?: unknown };
      const failure: Failure = {
        name: typeof name === 'string' ? name : 'Error',
        message: typeof message === 'string' ? message : '',
      };
      if (typeof code === 'string' || typeof code === 'number') failure.code = String(code);
      return failure;
    }
    return { name: 'Error', message: String(error) };
  } catch {
    // A getter or toString of what was thrown threw in turn.
    return { name: 'Error', message: 'A value was thrown that cannot be described' };
  }
}

function encode(failure: Failure, maxBytes: number): Uint8Array {
  let nameCharacters = MAX_NAME_CHARACTERS;
  let messageCharacters = MAX_MESSAGE_CHARACTERS;
  for (;;) {
    const cut = {
      ...failure,
      name: failure.name.slice(0, nameCharacters),
      message: failure.message.slice(0, messageCharacters),
    };
    if (failure.code !== undefined) cut.code = failure.code.slice(0, nameCharacters);
    const bytes = utf8.encode(JSON.stringify(cut));
    // A character may take one byte or six, so what fits is found by trying.
    if (bytes.length <= maxBytes || nameCharacters === 0) return bytes;
    if (messageCharacters > 0) messageCharacters >>= 1;
    else nameCharacters >>= 1;
  }
}
