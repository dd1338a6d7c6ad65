import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SECTION_DYNAMIC = 6;
const ENTRY_NEEDED = 1n;

/** The libraries that a 64-bit little-endian ELF file names: the entries DT_NEEDED of its dynamic section. */
function librariesOf(file: Buffer): string[] {
  expect(file.subarray(0, 6)).toEqual(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]));
  const sections = Number(file.readBigUInt64LE(0x28));
  const sectionBytes = file.readUInt16LE(0x3a);
  const area = (index: number): { type: number; bytes: Buffer; link: number } => {
    const at = sections + index * sectionBytes;
    const from = Number(file.readBigUInt64LE(at + 0x18));
    const bytes = file.subarray(from, from + Number(file.readBigUInt64LE(at + 0x20)));
    return { type: file.readUInt32LE(at + 4), bytes, link: file.readUInt32LE(at + 0x28) };
  };
  const all = Array.from({ length: file.readUInt16LE(0x3c) }, (_, index) => area(index));
  return all
    .filter(({ type }) => type === SECTION_DYNAMIC)
    .flatMap(({ bytes, link }) => {
      const names = area(link).bytes;
      const found: string[] = [];
      for (let at = 0; at < bytes.length; at += 16) {
        if (bytes.readBigUInt64LE(at) !== ENTRY_NEEDED) continue;
        const name = Number(bytes.readBigUInt64LE(at + 8));
        found.push(names.toString('latin1', name, names.indexOf(0, name)));
      }
      return found;
    });
}

test('the addon loads where the compiler’s libraries are older or missing: it names none of them', () => {
  const addon = fileURLToPath(new URL('../build/Release/spanwire.node', import.meta.url));
  const libraries = librariesOf(readFileSync(addon));
  expect(libraries.filter((name) => name.startsWith('libc.'))).toHaveLength(1);
  expect(libraries.filter((name) => /stdc\+\+|gcc_s/.test(name))).toEqual([]);
});
