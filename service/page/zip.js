// A zip archive whose files are stored as they are: photographs and masks are compressed already.

import { crc32 } from "./checksum.js";

const UTF8 = 1 << 11;
const DATE = (0 << 9) | (1 << 5) | 1; // 1 January 1980: the archive does not tell when it was made

/** `files`: [{ name, content: Blob }]. A Blob. */
export async function zip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, content } of files) {
    const bytes = new Uint8Array(await content.arrayBuffer());
    const encoded = new TextEncoder().encode(name);
    const common = [[2, 20], [2, UTF8], [2, 0], [2, 0], [2, DATE], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, encoded.length], [2, 0]];
    const local = [record([[4, 0x04034b50], ...common]), encoded, bytes];
    directory.push(record([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), encoded);
    parts.push(...local);
    offset += lengthOf(local);
  }
  const size = lengthOf(directory);
  const end = record([[4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, offset], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// fields of 2 or 4 bytes, the lowest byte first
function record(fields) {
  return Uint8Array.from(fields.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, i) => (value >>> (8 * i)) & 0xff)));
}

function lengthOf(parts) {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
