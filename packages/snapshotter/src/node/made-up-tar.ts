const BLOCK_BYTES = 512;

/** A tar of files of equal length in some directories; a thing to try code on. */
export function madeUpTar(files: number, fileBytes: number): Uint8Array {
  const content = Buffer.alloc(Math.ceil(fileBytes / BLOCK_BYTES) * BLOCK_BYTES);
  for (let at = 0; at < fileBytes; at += 1) content[at] = (at * 7919) % 251;
  const pieces = Array.from({ length: files }, (_, at) => [
    tarHeader(`usr/share/folder-${at % 20}/file-${at}`, fileBytes),
    content,
  ]);
  return Buffer.concat([...pieces.flat(), Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** POSIX.1-1988 ustar header of a regular file. */
function tarHeader(name: string, sizeBytes: number): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  const size = sizeBytes.toString(8).padStart(11, "0");
  header.write(name, 0, "latin1");
  header.write(["0000644", "0000000", "0000000", size, "14000000000", ""].join("\0"), 100);
  header.write("        0", 148, "latin1");
  header.write("ustar", 257, "latin1");
  header.write("00", 263, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}
