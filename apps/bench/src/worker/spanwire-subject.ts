/** The workloads on one of Spanwire's transports. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { IpcClient } from '@spanwire/ipc-core';
import type { ReactiveName } from '../links.ts';
import type { Job, Workload } from '../workload.ts';
import { BATCH, batches } from './batches.ts';
import { nowNs } from './clock.ts';
import type { Measured } from './control.ts';
import { startCrowd, type Crowd } from './crowd-process.ts';
import { Meter } from './meter.ts';
import { openLoop } from './open-loop.ts';
import { bursts, windowed } from './pipelines.ts';
import { residentBytes } from './resident-bytes.ts';
import { CANCEL_ME, expectEcho, FILL, SYNC, TELL_ME } from './request-codes.ts';
import type { Samples } from './samples.ts';
import { sequential } from './sequential.ts';
import { attach } from './spanwire-server.ts';
import type { Subject } from './subject.ts';
import { loadTransport, type Transport } from './transports.ts';
import { ringBytesOf, serverOptionsOf } from './workload-options.ts';

export async function openSpanwire(job: Job, samples: Samples): Promise<Subject> {
  const { workload } = job;
  const transport = await loadTransport(job.link as ReactiveName);
  const { address, server } = await startServer(job, transport);
  const connect = async (): Promise<IpcClient> => {
    const client = transport.createClient(address, ringBytesOf(workload), {});
    await client.connect();
    return client;
  };
  const clients = [await connect()];
  let crowd: Crowd | undefined;
  if (workload.kind === 'clients') {
    if (workload.active === 'all') while (clients.length < workload.clients) clients.push(await connect());
    else crowd = await startCrowd({ job, address, clients: workload.clients - 1, load: 'none' });
  } else if (workload.kind === 'fairness') {
    crowd = await startCrowd({ job, address, clients: workload.slow, load: 'slow' });
  }

  const [client = await connect()] = clients;
  const serverPid = server?.pid ?? null;
  return {
    serverPid,
    check: () => check(client, workload),
    async measure(ms, paced) {
      if (workload.kind === 'memory') return growth(connect, clients, workload.clients, serverPid);
      await crowd?.go();
      try {
        return await measure(clients, client, workload, ms, samples, paced);
      } finally {
        await crowd?.rest();
      }
    },
  };
}

/** A process of its own, or this one where the transport does not leave it. */
async function startServer(
  job: Job,
  transport: Transport,
): Promise<{ readonly address: string; readonly server: ChildProcess | undefined }> {
  if (!transport.crossesProcesses) {
    const { server, address } = transport.createServer(
      job.place,
      ringBytesOf(job.workload),
      serverOptionsOf(job.workload),
    );
    attach(server, job.workload);
    await server.listen();
    return { address: address(), server: undefined };
  }
  const program = fileURLToPath(new URL('./server.js', import.meta.url));
  const server = fork(program, [JSON.stringify(job)]);
  const [first] = (await Promise.race([once(server, 'message'), once(server, 'exit')])) as unknown[];
  if (typeof first !== 'string') throw new Error(`The server of ${job.link} ended with ${String(first)}`);
  return { address: first, server };
}

async function check(client: IpcClient, workload: Workload): Promise<void> {
  if (
    !('bytes' in workload) ||
    workload.kind === 'one-way' ||
    workload.kind === 'large' ||
    workload.kind === 'stream'
  ) {
    return;
  }
  expectEcho(await client.request(new Uint8Array(workload.bytes).fill(FILL)), workload.bytes);
}

function measure(
  clients: readonly IpcClient[],
  client: IpcClient,
  workload: Workload,
  ms: number,
  samples: Samples,
  paced: boolean,
): Promise<Measured> {
  const message = new Uint8Array('bytes' in workload ? workload.bytes : 1).fill(FILL);
  switch (workload.kind) {
    case 'request': {
      const trip = workload.borrowed === true ? () => borrow(client, message) : () => client.request(message);
      return sequential(trip, ms, samples, paced ? workload.everyMs : undefined);
    }
    case 'fairness':
      return sequential(() => client.request(message), ms, samples);
    case 'pipelined':
    case 'large':
      return windowed(client, message, workload, new Meter(samples, ms, workload));
    case 'burst':
      return bursts(client, message, workload, new Meter(samples, ms, workload));
    case 'one-way':
      return batches(() => oneWayBatch(client, message), ms, samples);
    case 'open-loop':
      if (!paced) return sequential(() => client.request(message), ms, samples);
      return openLoop((onAnswer) => void client.request(message).then(onAnswer), workload.perSecond, ms, samples);
    case 'clients':
      return each(clients, message, ms, samples);
    case 'stream':
      return streams(client, workload.items, ms, samples);
    case 'cancel':
      return cancellations(client, ms, samples);
    default:
      return Promise.resolve({ latency: null, perSecond: null, bytesPerClient: null });
  }
}

/** A round trip whose answer is looked at in place, and given back. */
async function borrow(client: IpcClient, message: Uint8Array): Promise<void> {
  const reply = await client.exchange(message);
  const { span } = reply;
  if (span.length !== message.length || span[span.length - 1] !== FILL) {
    throw new Error(`Expected ${message.length} bytes back, got ${span.length} or others`);
  }
  reply.release();
}

async function oneWayBatch(client: IpcClient, message: Uint8Array): Promise<void> {
  for (let i = 0; i < BATCH; i++) if (!client.trySend(message)) await client.send(message);
  const answer = await client.request(message);
  const [counted] = new Uint32Array(answer.buffer, answer.byteOffset, 1);
  if (counted !== BATCH) throw new Error(`Expected the server to count ${BATCH} messages, got ${counted}`);
}

/** Each client for itself, one request after the other. */
async function each(
  clients: readonly IpcClient[],
  message: Uint8Array,
  ms: number,
  samples: Samples,
): Promise<Measured> {
  const [only] = clients;
  if (clients.length === 1 && only !== undefined) return sequential(() => only.request(message), ms, samples);
  const meter = new Meter(samples, ms, { depth: clients.length, bytes: message.length });
  const loop = async (client: IpcClient): Promise<void> => {
    while (meter.open) {
      meter.sent();
      await client.request(message);
      meter.received();
    }
  };
  await Promise.all(clients.map(loop));
  return meter.finish();
}

/** Stream after stream. The latency is that of a whole stream, the rate that of items. */
async function streams(client: IpcClient, items: number, ms: number, samples: Samples): Promise<Measured> {
  const call$ = client.request$(new Uint8Array(1));
  const stream = (): Promise<void> =>
    new Promise((resolve, reject) => {
      let missing = items;
      call$.subscribe({
        next: () => missing--,
        error: reject,
        complete: () => (missing === 0 ? resolve() : reject(new Error(`Expected ${missing} items more`))),
      });
    });
  const { perSecond, ...measured } = await sequential(stream, ms, samples);
  return { ...measured, perSecond: perSecond === null ? null : perSecond * items };
}

/** From the abort here to the server's word that its handler knows. */
async function cancellations(client: IpcClient, ms: number, samples: Samples): Promise<Measured> {
  const endNs = nowNs() + ms * 1e6;
  let doneNs: number;
  do {
    const controller = new AbortController();
    const call = client.request(Uint8Array.of(CANCEL_ME), { signal: controller.signal });
    const given = call.catch(() => undefined);
    const told = client.request(Uint8Array.of(TELL_ME));
    // Requests arrive in order, so the two before this one are there.
    await client.request(Uint8Array.of(SYNC));
    const beginNs = nowNs();
    controller.abort();
    await given;
    await told;
    doneNs = nowNs();
    samples.add(doneNs - beginNs);
  } while (doneNs < endNs);
  return { ...samples.take(), bytesPerClient: null };
}

/** Connects `more` clients, which stay, and says by how much the server grew. */
async function growth(
  connect: () => Promise<IpcClient>,
  clients: IpcClient[],
  more: number,
  serverPid: number | null,
): Promise<Measured> {
  const pid = serverPid ?? process.pid;
  const before = residentBytes(pid);
  for (let i = 0; i < more; i++) {
    const client = await connect();
    clients.push(client);
    await client.request(new Uint8Array(64));
  }
  const bytesPerClient = (residentBytes(pid) - before) / more;
  return { latency: null, perSecond: null, bytesPerClient };
}
