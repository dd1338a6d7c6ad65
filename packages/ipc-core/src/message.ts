/** What the core hands on after frames became messages: the same shape as a frame, whole, with its extension decoded. */
import type { Frame } from './channel.ts';
import type { Extension } from './extension.ts';
import { decodeExtension } from './extension.ts';
import { FLAG_EXTENSION } from './frame.ts';

/** A whole message whose bytes are a part of a frame, or its own. */
export class Message implements Frame {
  readonly kind: number;
  readonly id: number;
  readonly flags = 0;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly owned: boolean;
  readonly extension: Extension | undefined;
  #onRelease: (() => void) | undefined;

  constructor(
    kind: number,
    id: number,
    payload: Uint8Array<ArrayBuffer>,
    owned: boolean,
    extension: Extension | undefined,
    onRelease: (() => void) | undefined,
  ) {
    this.kind = kind;
    this.id = id;
    this.payload = payload;
    this.owned = owned;
    this.extension = extension;
    this.#onRelease = onRelease;
  }

  release(): void {
    const onRelease = this.#onRelease;
    this.#onRelease = undefined;
    onRelease?.();
  }
}

/** The message of an unfragmented frame: the frame itself, unless it has an extension. Throws ProtocolError. */
export function messageOf(frame: Frame): Frame | Message {
  if ((frame.flags & FLAG_EXTENSION) === 0) return frame;
  const extension = decodeExtension(frame.payload);
  return new Message(frame.kind, frame.id, frame.payload.subarray(extension.byteLength), false, extension, () =>
    frame.release(),
  );
}

/** The extension of a message, if it has one. */
export function extensionOf(message: Frame | Message): Extension | undefined {
  return message instanceof Message ? message.extension : undefined;
}

/** Bytes that outlive the frame; releases it. */
export function takeOwned(frame: Frame): Uint8Array<ArrayBuffer> {
  const bytes = frame.owned ? frame.payload : new Uint8Array(frame.payload);
  frame.release();
  return bytes;
}
