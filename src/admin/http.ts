/**
 * node:http, not by an import: that reads every export, and one of them loads the browser's fetch and WebSocket, which nobody
 * here uses. It was a tenth of the daemon's start.
 */
export const http = process.getBuiltinModule('node:http');
