/**
 * What capnweb's encoding has no word for, said inside of its word for errors: `["error", tag, message, null, properties]`, where an
 * ordinary error has a name. A tag is a byte array, which no value can have in that place, so nothing that users send looks like one.
 */

/** A declared error class, by the name it was declared under, and the `name` of the error. */
export type DeclaredTag = readonly ['declared', type: string, name: string];
/** An error of any other class. */
export type OtherTag = readonly ['other', name: string, code: string | null];
/** A message that the sender kept back: this call fails instead. */
export type TooLargeTag = readonly ['too-large', messageBytes: number, maxMessageBytes: number];
export type OverloadedTag = readonly ['overloaded'];
/** A subscriber is further behind than this. */
export type SlowSubscriberTag = readonly ['slow-subscriber', maxItems: number];
/** An Observable; the property `remote` is what it is subscribed through. */
export type StreamTag = readonly ['stream'];

export type Tag = DeclaredTag | OtherTag | TooLargeTag | OverloadedTag | SlowSubscriberTag | StreamTag;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder('utf-8', { fatal: true });

export function encodeTag(tag: Tag): Uint8Array {
  return utf8.encode(JSON.stringify(tag));
}

/** Undefined when these bytes are no tag that this version knows. */
export function decodeTag(bytes: Uint8Array): Tag | undefined {
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8.decode(bytes));
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  const [kind, first, second] = value as unknown[];
  switch (kind) {
    case 'declared':
      return typeof first === 'string' && typeof second === 'string' ? [kind, first, second] : undefined;
    case 'other':
      return typeof first === 'string' && (typeof second === 'string' || second === null)
        ? [kind, first, second]
        : undefined;
    case 'too-large':
      return typeof first === 'number' && typeof second === 'number' ? [kind, first, second] : undefined;
    case 'slow-subscriber':
      return typeof first === 'number' ? [kind, first] : undefined;
    case 'overloaded':
    case 'stream':
      return [kind];
    default:
      return undefined;
  }
}

/** A node of a message tree that carries a tag. */
export type TaggedNode = [kind: 'error', tag: Uint8Array, message: string, stack?: null, properties?: object];

/** Replaces every tagged node in `tree`, inner ones first, by what `restore` makes of it. Other nodes are changed in place. */
export function replaceTagged(tree: unknown, restore: (node: TaggedNode) => unknown): unknown {
  if (typeof tree !== 'object' || tree === null || tree instanceof Uint8Array) return tree;
  if (Array.isArray(tree)) {
    const node = tree as unknown[];
    for (let i = 0; i < node.length; i++) node[i] = replaceTagged(node[i], restore);
    return node[0] === 'error' && node[1] instanceof Uint8Array && typeof node[2] === 'string'
      ? restore(node as TaggedNode)
      : node;
  }
  const object = tree as Record<string, unknown>;
  for (const key of Object.keys(object)) object[key] = replaceTagged(object[key], restore);
  return object;
}
