/** Everything that is measured. */
import {
  bareName,
  barretenbergNames,
  isReactive,
  isTransport,
  peerNames,
  transportNames,
  type LinkName,
  type TransportName,
} from './links.ts';
import type { Case, Scenario } from './scenario.ts';
import type { BurstStyle, Style } from './workload.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

/** One net echo is enough where messages come one by one. */
const unbatchedPeers = peerNames.filter((name) => name !== 'net-batched');
/** What has several messages under way: a call that blocks is alone. */
const reactive = transportNames.filter(isReactive);
const burstStyles = ['promise', 'observable'] as const satisfies readonly BurstStyle[];
const styles = [...burstStyles, 'requestEach'] as const satisfies readonly Style[];

/** Beside what JavaScript reaches with the same rings. */
const besideBare: Pick<Case, 'reference'> = { reference: { link: bareName, variant: '' } };
const bare: Pick<Case, 'link' | 'variant' | 'floor' | 'onlyReference'> = {
  link: bareName,
  variant: '',
  floor: 'ring',
  onlyReference: true,
};

const netBatched: Case = {
  link: 'net-batched',
  variant: '',
  workload: { kind: 'burst', bytes: 64, depth: 256, style: 'promise' },
  figure: 'rate',
  floor: 'ring',
  onlyReference: true,
};

export const scenarios: readonly Scenario[] = [
  request('request-64', '64 B there and back, one at a time', 64, {
    shm: { target: { ratioToFloor: { atMost: 2.6 }, ratioToBestPeer: { atLeast: 100 } }, ...besideBare },
    'shm-blocking': { target: { ratioToFloor: { atMost: 1.8 } } },
    unix: besideNet(1.1),
  }),
  request('request-1k', '1 KiB there and back, one at a time', KiB),
  request('request-64k', '64 KiB there and back, one at a time', 64 * KiB),
  pipelined(1),
  pipelined(16),
  pipelined(256),
  {
    name: 'burst-256',
    title: '256 requests of 64 B at once, then none until all are answered',
    cases: [
      ...(['shm', 'unix', 'tcp'] as const).flatMap((link) =>
        burstStyles.map((style): Case => ({
          link,
          variant: style,
          workload: { kind: 'burst', bytes: 64, depth: 256, style },
          figure: 'rate',
          floor: 'ring',
          reference: { link: 'net-batched', variant: '' },
          fullOnly: true,
        })),
      ),
      ...peerNames.map((link): Case => ({
        link,
        variant: '',
        workload: { kind: 'burst', bytes: 64, depth: 256, style: 'promise' },
        figure: 'rate',
        floor: 'ring',
        fullOnly: true,
      })),
    ],
  },
  {
    name: 'one-way-64',
    title: '64 B one way, as fast as the server takes them',
    cases: [...reactive, ...peerNames].map((link): Case => ({
      link,
      variant: '',
      workload: { kind: 'one-way', bytes: 64 },
      figure: 'rate',
      floor: 'ring',
      fullOnly: true,
    })),
  },
  large('large-1m', '1 MiB one way through 8 MiB, read in place', MiB, 8 * MiB),
  large('large-16m', '16 MiB one way through 64 MiB, read in place', 16 * MiB, 64 * MiB),
  {
    name: 'cold',
    title: '64 B there and back every 10 ms, idle in between',
    // A hundred times as long as a request takes: still few samples.
    patience: 3,
    cases: links('shm', 'shm-blocking', 'unix', ...unbatchedPeers).map((link): Case => ({
      link,
      variant: '',
      workload: { kind: 'request', bytes: 64, everyMs: 10 },
      figure: 'latency',
      floor: 'cold',
      ...(link === 'shm' ? { target: { ratioToFloor: { atMost: 1.3 } } } : {}),
      fullOnly: link !== 'shm' && link !== 'net',
    })),
  },
  openLoop(1000),
  openLoop(10_000),
  {
    name: 'clients-one',
    title: '64 B there and back on one of many connections',
    cases: clientCounts('one'),
  },
  {
    name: 'clients-all',
    title: '64 B there and back on all connections at once, each one at a time',
    cases: clientCounts('all'),
  },
  {
    name: 'fairness',
    title: '64 B there and back while 8 other clients keep the server’s windows full of slow requests: its p99',
    cases: links('shm', 'unix').flatMap((link) =>
      [0, 8].map((slow): Case => ({
        link,
        variant: slow === 0 ? 'alone' : 'with the slow ones',
        workload: { kind: 'fairness', bytes: 64, slow },
        figure: 'tail',
        floor: 'ring',
        ...(slow === 0 ? {} : { reference: { link, variant: 'alone' } }),
        fullOnly: true,
      })),
    ),
  },
  {
    name: 'operators',
    title: 'Requests per second through `requests$.pipe(map(handler))`, against a bare callback; 256 at a time',
    repetitions: 3,
    cases: links('shm', 'unix').flatMap((link): Case[] =>
      (['map', 'callback'] as const).map((server) => ({
        link,
        variant: server,
        workload: { kind: 'pipelined', bytes: 64, depth: 256, style: 'promise', server },
        figure: 'rate',
        floor: 'ring',
        ...(server === 'map'
          ? // The bare callback may be 1.05 times as fast.
            { reference: { link, variant: 'callback' }, target: { ratioToReference: { atLeast: 1 / 1.05 } } }
          : {}),
      })),
    ),
  },
  {
    name: 'stream',
    title: 'A request answered with 1,000 items of 64 B; the rate is that of items',
    cases: reactive.flatMap((link): Case[] =>
      (['iterable', 'observable'] as const).map((source) => ({
        link,
        variant: source,
        workload: { kind: 'stream', bytes: 64, items: 1000, source },
        figure: 'rate',
        floor: 'ring',
        fullOnly: true,
      })),
    ),
  },
  {
    name: 'cancel',
    title: 'From an abort to the word that the handler knows',
    cases: reactive.map((link): Case => ({
      link,
      variant: '',
      workload: { kind: 'cancel' },
      figure: 'latency',
      floor: 'ring',
      fullOnly: true,
    })),
  },
  {
    name: 'idle',
    title: 'CPU time of a connected client and server with nothing to do',
    patience: 2,
    cases: links('shm', 'shm-blocking', 'unix', 'net').map((link): Case => ({
      link,
      variant: '',
      workload: isTransport(link) ? { kind: 'idle', bytes: 64 } : { kind: 'request', bytes: 64 },
      figure: 'cpu',
      floor: null,
      // A blocking server looks at its flag ten times a second.
      ...(isReactive(link) ? { target: { cpuShare: { atMost: 0.001 } } } : { fullOnly: true }),
    })),
  },
  {
    name: 'barretenberg',
    title: '64 B hashed by Barretenberg’s server in its own shared memory, one at a time: by our client and by its own',
    cases: barretenbergNames.map((link): Case => ({
      link,
      variant: '',
      workload: { kind: 'request', bytes: 64 },
      figure: 'latency',
      floor: 'ring',
      ...besidePublished(link, { ratioToReference: { atMost: 1 / 5 } }),
      fullOnly: true,
    })),
  },
  {
    name: 'barretenberg-256',
    title: '64 B hashed by Barretenberg’s server in its own shared memory, 256 under way at any time',
    cases: barretenbergNames.map((link): Case => ({
      link,
      variant: '',
      workload: { kind: 'pipelined', bytes: 64, depth: 256, style: 'promise' },
      figure: 'rate',
      floor: 'ring',
      ...besidePublished(link, { ratioToReference: { atLeast: 1.5 } }),
      fullOnly: true,
    })),
  },
  {
    name: 'memory',
    title: 'What each connected client costs the server',
    cases: (['shm', 'unix', 'tcp'] as const).map((link): Case => ({
      link,
      variant: '',
      workload: { kind: 'memory', clients: 32 },
      figure: 'memory',
      floor: null,
      fullOnly: true,
    })),
  },
];

function links(...names: LinkName[]): LinkName[] {
  return names;
}

function besideNet(atMost: number): Pick<Case, 'reference' | 'target'> {
  return { reference: { link: 'net', variant: '' }, target: { ratioToReference: { atMost } } };
}

function besidePublished(link: LinkName, target: NonNullable<Case['target']>): Pick<Case, 'reference' | 'target'> {
  return link === 'barretenberg-spanwire' ? { reference: { link: 'barretenberg-published', variant: '' }, target } : {};
}

function request(
  name: string,
  title: string,
  bytes: number,
  more: { readonly [T in TransportName]?: Pick<Case, 'reference' | 'target'> } = {},
): Scenario {
  const cases = [...transportNames, ...unbatchedPeers].map((link): Case => ({
    link,
    variant: '',
    workload: { kind: 'request', bytes },
    figure: 'latency',
    floor: 'ring',
    fullOnly: bytes !== 64,
    ...(isTransport(link) ? more[link] : {}),
  }));
  if (bytes === 64) cases.push({ ...bare, workload: { kind: 'request', bytes }, figure: 'latency' });
  if (bytes >= 64 * KiB) cases.push(...(['shm', 'unix'] as const).map((link) => borrowed(link, bytes)));
  return { name, title, cases };
}

/** Beside the same with `request`, which copies the answer. */
function borrowed(link: TransportName, bytes: number): Case {
  return {
    link,
    variant: 'exchange',
    workload: { kind: 'request', bytes, borrowed: true },
    figure: 'latency',
    floor: 'ring',
    reference: { link, variant: '' },
    fullOnly: true,
  };
}

function pipelined(depth: number): Scenario {
  const workload = { kind: 'pipelined', bytes: 64, depth } as const;
  const common = { figure: 'rate', floor: 'ring' } as const;
  return {
    name: `pipelined-${depth}`,
    title: `Requests of 64 B, ${depth} under way at any time`,
    cases: [
      ...reactive.flatMap((link) =>
        styles.map((style): Case => ({
          link,
          variant: style,
          workload: { ...workload, style },
          ...common,
          ...(depth === 256 ? pipelinedTarget(link, style) : {}),
          fullOnly: depth !== 256 || !isQuick(link, style),
        })),
      ),
      ...unbatchedPeers.map((link): Case => ({
        link,
        variant: '',
        workload: { ...workload, style: 'promise' },
        ...common,
        fullOnly: depth !== 256,
      })),
      // As many in one write as are under way, raw: the fastest that a bare socket can be.
      ...(depth === 256
        ? [netBatched, { ...bare, workload: { ...workload, style: 'promise' as const }, ...common }]
        : []),
    ],
  };
}

/** What has a target, and sockets to see it beside. */
function isQuick(link: LinkName, style: Style): boolean {
  return link === 'shm' ? style !== 'observable' : link === 'unix' && style === 'promise';
}

/** Over shared memory a request may take as long as half a round trip of the floor, a promise more; sockets are to keep up with a bare one. */
function pipelinedTarget(link: LinkName, style: Style): Pick<Case, 'reference' | 'target'> {
  if (link === 'unix') {
    const reference = { link: 'net-batched', variant: '' } as const;
    return style === 'promise' ? { reference, target: { ratioToReference: { atLeast: 0.4 } } } : { reference };
  }
  if (link !== 'shm' || style === 'observable') return {};
  return { target: { ratioToFloor: { atLeast: style === 'promise' ? 0.8 : 2 } }, ...besideBare };
}

function large(name: string, title: string, bytes: number, ringBytes: number): Scenario {
  // A quarter of the ring goes at once; with two under way one is written while the other is read.
  const workload = { kind: 'large', bytes, ringBytes, depth: 2 } as const;
  return {
    name,
    title,
    patience: bytes > 4 * MiB ? 2 : 1,
    cases: [...reactive, ...unbatchedPeers]
      .filter((link) => link !== 'tcp')
      .map((link): Case => ({
        link,
        variant: '',
        workload,
        figure: 'rate',
        floor: 'memcpy',
        ...(link === 'shm' && bytes === MiB ? { target: { ratioToFloor: { atLeast: 0.9 } } } : { fullOnly: true }),
      })),
  };
}

function openLoop(perSecond: number): Scenario {
  return {
    name: `open-loop-${perSecond / 1000}k`,
    title: `${perSecond.toLocaleString('en')} requests of 64 B a second at fixed times; latency from the intended time`,
    cases: [...reactive, ...unbatchedPeers].map((link): Case => ({
      link,
      variant: '',
      workload: { kind: 'open-loop', bytes: 64, perSecond },
      figure: 'latency',
      floor: 'ring',
      fullOnly: true,
    })),
  };
}

function clientCounts(active: 'one' | 'all'): Case[] {
  return (['shm', 'unix'] as const).flatMap((link) =>
    [1, 3, 64, 512].map((clients): Case => ({
      link,
      variant: String(clients),
      workload: { kind: 'clients', bytes: 64, clients, active },
      figure: active === 'one' ? 'latency' : 'rate',
      floor: 'ring',
      ...(clients === 1 ? {} : { reference: { link, variant: '1' } }),
      ...(active === 'one' && clients === 512 ? { target: { ratioToReference: { atMost: 1.2 } } } : {}),
      fullOnly: active === 'all' || (clients !== 1 && clients !== 512),
    })),
  );
}
