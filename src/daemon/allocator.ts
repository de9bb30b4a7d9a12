/**
 * The memory allocator of workers. OpenSSL takes and gives back a buffer of 17 KiB for each record that it reads or
 * writes, which the C library's allocator is slow at and mimalloc is not: with many connections a tenth of the CPU time,
 * and a fifth of an idle connection's memory. The appliance's image has it; without it all works the same.
 */
import { existsSync } from 'node:fs';

/** Where Debian and Fedora put it (64-bit x86 and ARM). */
const FOLDERS = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64'];
const NAMES = ['libmimalloc.so.2', 'libmimalloc.so.3'];

/** Variables that give a process mimalloc; none where it is not installed. */
export function quickAllocator(): { readonly LD_PRELOAD?: string } {
  const found = FOLDERS.flatMap((folder) => NAMES.map((name) => `${folder}/${name}`)).find((file) => existsSync(file));
  return found === undefined ? {} : { LD_PRELOAD: found };
}
