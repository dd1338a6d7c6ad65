// The servers of blocking.mjs: echo until they are killed. `node blocking-server.mjs ADDRESS`, or `node blocking-server.mjs --bare PATH`.
import { createShmServer } from '@spanwire/ipc-shm-native';
import { serveBlocking } from './bare-rings.mjs';

const [what = '', path = ''] = process.argv.slice(2);
if (what === '--bare') serveBlocking(path);
else createShmServer(what).runSync((_clientId, request) => request);
