/** The workloads on a peer. */
import { Deque } from '@spanwire/ipc-core';
import type { PeerName } from '../links.ts';
import type { Job } from '../workload.ts';
import { BATCH, batches } from './batches.ts';
import type { Measured } from './control.ts';
import { Meter } from './meter.ts';
import { openLoop } from './open-loop.ts';
import { loadPeer } from './peers/load-peer.ts';
import type { PeerClient } from './peers/peer.ts';
import { FILL } from './request-codes.ts';
import type { Samples } from './samples.ts';
import { sequential } from './sequential.ts';
import type { Missing, Subject } from './subject.ts';

/** Undefined and a reason when the peer cannot be measured here. */
export async function openPeer(job: Job, samples: Samples): Promise<Subject | Missing> {
  const { workload, place } = job;
  const peer = await loadPeer(job.link as PeerName);
  const missing = await peer.missing?.();
  if (missing !== undefined) return { missing };
  if (!('bytes' in workload)) throw new TypeError(`Expected a workload that peers have, got ${workload.kind}`);
  const { bytes } = workload;
  const countEvery = workload.kind === 'one-way' ? BATCH : workload.kind === 'large' ? 1 : 0;
  const client = await peer.open({ countEvery, bytes, place });
  const message = new Uint8Array(bytes).fill(FILL);

  return {
    serverPid: client.serverPid,
    async check() {
      if (countEvery > 0) return batch(client, message, countEvery);
      const answer = await roundTrip(client, message);
      if (answer.length === 0 || answer.some((byte) => byte !== FILL)) {
        throw new Error(`Expected ${job.link} to give back what it got`);
      }
    },
    measure(ms, paced) {
      switch (workload.kind) {
        case 'request':
          return sequential(() => roundTrip(client, message), ms, samples, paced ? workload.everyMs : undefined);
        case 'pipelined':
        case 'large':
          return window(client, message, new Meter(samples, ms, workload), workload.depth);
        case 'burst':
          return bursts(client, message, new Meter(samples, ms, workload), workload.depth);
        case 'one-way':
          return batches(() => batch(client, message, BATCH), ms, samples);
        case 'open-loop':
          if (!paced) return sequential(() => roundTrip(client, message), ms, samples);
          return inOrder(client, message, workload.perSecond, ms, samples);
        default:
          throw new TypeError(`Expected a workload that peers have, got ${workload.kind}`);
      }
    },
  };
}

function roundTrip(client: PeerClient, message: Uint8Array): Promise<Uint8Array> {
  // First of all the message: nothing is answered before this has returned.
  client.post(message);
  return new Promise((resolve) => {
    client.onAnswer = resolve;
  });
}

/** As many under way as `depth` says, at any time. */
function window(client: PeerClient, message: Uint8Array, meter: Meter, depth: number): Promise<Measured> {
  return new Promise((resolve) => {
    const send = (): void => {
      meter.sent();
      client.post(message);
    };
    client.onAnswer = (_answer, count) => {
      meter.received(count);
      if (meter.open) for (let i = 0; i < count; i++) send();
      else if (meter.underWay === 0) resolve(meter.finish());
    };
    for (let i = 0; i < depth; i++) send();
  });
}

/** As many at once as `depth` says, then none until all are answered. */
function bursts(client: PeerClient, message: Uint8Array, meter: Meter, depth: number): Promise<Measured> {
  return new Promise((resolve) => {
    const send = (): void => {
      for (let i = 0; i < depth; i++) meter.sent();
      post(client, message, depth);
    };
    client.onAnswer = (_answer, count) => {
      meter.received(count);
      if (meter.underWay > 0) return;
      if (meter.open) send();
      else resolve(meter.finish());
    };
    send();
  });
}

/** One way, until the server says that all of them are there. */
function batch(client: PeerClient, message: Uint8Array, count: number): Promise<void> {
  return new Promise((resolve) => {
    client.onAnswer = () => resolve();
    post(client, message, count);
  });
}

function post(client: PeerClient, message: Uint8Array, count: number): void {
  if (client.postMany === undefined) for (let i = 0; i < count; i++) client.post(message);
  else client.postMany(message, count);
}

/** Peers answer in order, so the oldest who waits is the one who is answered. */
function inOrder(
  client: PeerClient,
  message: Uint8Array,
  perSecond: number,
  ms: number,
  samples: Samples,
): Promise<Measured> {
  const waiting = new Deque<() => void>();
  client.onAnswer = (_answer, count) => {
    for (let i = 0; i < count; i++) waiting.shift()?.();
  };
  const send = (onAnswer: () => void): void => {
    waiting.push(onAnswer);
    client.post(message);
  };
  return openLoop(send, perSecond, ms, samples);
}
