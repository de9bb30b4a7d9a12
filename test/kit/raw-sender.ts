import { join } from 'node:path';

/** A Python program that writes frames as whoever has NET_RAW may; see its head. */
export const RAW_SENDER = join(import.meta.dirname, 'raw-sender.py');
