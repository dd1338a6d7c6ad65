import { mkdtempSync } from 'node:fs';
import { describe } from 'vitest';
import { createSocketClient, createSocketServer, socketConnect } from '../../ipc-socket/src/index.ts';
import { createShmClient, createShmServer, shmConnect } from '../../ipc-shm-native/src/index.ts';
import { describeEverything } from './zz-everything.ts';
let n = 0;
const dir = mkdtempSync('/tmp/zz-');
describe('socket', () => describeEverything({ framing: 'spanwire', open: () => { const name = `${dir}/s${n++}`; return { createServer: (o: any) => createSocketServer(name, o), createClient: (o: any) => createSocketClient(name, o), connect: socketConnect(name) } as any; } }));
describe('shm', () => describeEverything({ framing: 'spanwire', open: () => { const name = `z${n++}`; const own = { directory: dir }; return { createServer: ({ windowBytes, responseWindowBytes, ...o }: any = {}) => createShmServer(name, { ...o, ...own, requestRingBytes: windowBytes, responseRingBytes: responseWindowBytes }), createClient: (o: any) => createShmClient(name, { ...o, ...own }), connect: shmConnect(name, own) } as any; } }));
