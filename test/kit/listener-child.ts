/** Listens on a port of every address in some namespace, and tells its parent each connection. */
import net from 'node:net';

const server = net.createServer((socket) => {
  process.send?.('accepted');
  socket.on('error', () => undefined);
  socket.end('hello\n');
});
server.listen(Number(process.argv[2]), '::', () => process.send?.('listening'));
process.once('disconnect', () => process.exit(0));
