/** Messages of sessions as bytes: MessagePack, in which byte arrays stay byte arrays. */
import { Packr } from 'msgpackr';

/** From here on the encoder's memory is given away with the message: kept, it would stay as large as the largest message ever. */
const LARGE_BYTES: number = 256 * 1024;
const SCRATCH_BYTES: number = 8 * 1024;

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  // Messages are decoded in place from borrowed frames; what is handed on must not point into them.
  copyBuffers: true,
  // Values are data. A property that happens to be called toJSON is one, too.
  useToJSON: false,
});

/** Encodes one message. The bytes stay as they are: they may wait in a queue. */
export function encode(message: unknown): Uint8Array {
  const bytes = packr.pack(message);
  if (bytes.byteLength > LARGE_BYTES) packr.useBuffer(Buffer.allocUnsafeSlow(SCRATCH_BYTES));
  return bytes;
}

/** Decodes one message; nothing in it shares memory with `bytes`. Throws on bytes that are none, or nested too deeply. */
export function decode(bytes: Uint8Array<ArrayBuffer>): unknown {
  // A Buffer would decode byte arrays to Buffers.
  const plain = bytes instanceof Buffer ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes;
  return packr.unpack(plain);
}
