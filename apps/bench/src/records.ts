/** From rounds to records: medians, and ratios of the same round. */
import type { FloorFigures } from './floor.ts';
import { isTransport } from './links.ts';
import type { BenchRecord, RoundRecord } from './result.ts';
import type { CaseResult, RoundFigures, ScenarioResult } from './run.ts';
import type { Case, Figure, Metric, Target } from './scenario.ts';
import { median, medianOf } from './statistics.ts';

type Measured = Extract<CaseResult, { outcome: 'measured' }>;

export function recordsOf({ scenario, floors, cases }: ScenarioResult): BenchRecord[] {
  const measured = cases.filter((one) => one.outcome === 'measured');
  const bestPeer = bestOf(
    measured.filter(({ case: { link, onlyReference } }) => !isTransport(link) && onlyReference !== true),
  );
  return measured.map((one) => {
    const { case: subject, rounds } = one;
    const ours = isTransport(subject.link);
    const rival = ours && bestPeer?.case.figure === subject.figure ? bestPeer : undefined;
    const reference = measured.find(
      ({ case: { link, variant } }) => link === subject.reference?.link && variant === subject.reference.variant,
    );
    const perRound = rounds.map((figures, round): RoundRecord => {
      const floor = floors[round] ?? null;
      return {
        p50Ns: figures.latency?.p50Ns ?? null,
        p99Ns: figures.latency?.p99Ns ?? null,
        p999Ns: figures.latency?.p999Ns ?? null,
        perSecond: figures.perSecond,
        cpuShare: figures.cpuShare,
        bytesPerClient: figures.bytesPerClient,
        ratioToFloor: floor && ratioToFloor(subject, figures, floor),
        ratioToBestPeer: betterBy(subject.figure, figures, rival?.rounds[round]),
        ratioToReference: ratio(subject.figure, figures, reference?.rounds[round]),
        floorNs: floor?.ringNs ?? null,
        state: floor?.state ?? null,
        clientCpu: figures.clientCpu,
        serverCpu: figures.serverCpu,
      };
    });
    const middle = (name: keyof RoundFigures & keyof RoundRecord): number | null =>
      medianOf(perRound.map((round) => round[name]));
    const latencies = rounds.flatMap(({ latency }) => latency ?? []);
    const metrics: Record<Metric, number | null> = {
      ratioToFloor: medianOf(perRound.map((round) => round.ratioToFloor)),
      ratioToBestPeer: medianOf(perRound.map((round) => round.ratioToBestPeer)),
      ratioToReference: medianOf(perRound.map((round) => round.ratioToReference)),
      cpuShare: middle('cpuShare'),
    };
    return {
      scenario: scenario.name,
      variant: subject.variant,
      transport: ours ? subject.link : null,
      peer: ours ? (rival?.case.link ?? null) : subject.link,
      figure: subject.figure,
      bytes: 'bytes' in subject.workload ? subject.workload.bytes : null,
      clients: clientsOf(subject),
      p50Ns: medianOf(perRound.map((round) => round.p50Ns)),
      p99Ns: medianOf(perRound.map((round) => round.p99Ns)),
      p999Ns: medianOf(perRound.map((round) => round.p999Ns)),
      perSecond: middle('perSecond'),
      wakeUpsPerSecond: medianOf(rounds.map((round) => round.wakeUpsPerSecond)),
      bytesPerClient: middle('bytesPerClient'),
      ...metrics,
      reference: reference === undefined ? null : nameOf(reference.case),
      target: subject.target ?? null,
      met: subject.target === undefined ? null : isMet(subject.target, metrics),
      rounds: rounds.length,
      perRound,
      cdfNs: latencies.length === 0 ? null : middleOfEach(latencies.map(({ cdfNs }) => cdfNs)),
    };
  });
}

/** A link, and its variant where there are several. */
export function nameOf({ link, variant }: Pick<Case, 'link' | 'variant'>): string {
  return variant === '' ? link : `${link} ${variant}`;
}

/** Null when a limit is about a ratio that this machine cannot have. */
export function isMet(target: Target, metrics: Readonly<Record<Metric, number | null>>): boolean | null {
  let all = true;
  for (const [metric, limit] of Object.entries(target)) {
    const value = metrics[metric as Metric];
    if (value === null) return null;
    if ('atMost' in limit ? value > limit.atMost : value < limit.atLeast) all = false;
  }
  return all;
}

function clientsOf({ workload }: Case): number {
  if (workload.kind === 'clients') return workload.clients;
  return workload.kind === 'fairness' ? workload.slow + 1 : 1;
}

/** By the median of the rounds: the best of each round would be a peer that does not exist. */
function bestOf(peers: readonly Measured[]): Measured | undefined {
  let best: Measured | undefined;
  let bestFigure = Number.NaN;
  for (const peer of peers) {
    const figure = medianOf(peer.rounds.map((round) => figuresOf[peer.case.figure](round)));
    if (figure === null) continue;
    const better = lessIsBetter(peer.case.figure) ? figure < bestFigure : figure > bestFigure;
    if (best !== undefined && !better) continue;
    best = peer;
    bestFigure = figure;
  }
  return best;
}

const figuresOf: Record<Figure, (round: RoundFigures) => number | null> = {
  latency: ({ latency }) => latency?.p50Ns ?? null,
  tail: ({ latency }) => latency?.p99Ns ?? null,
  rate: ({ perSecond }) => perSecond,
  cpu: ({ cpuShare }) => cpuShare,
  memory: ({ bytesPerClient }) => bytesPerClient,
};

/** Whether a smaller figure is the better one. */
export function lessIsBetter(figure: Figure): boolean {
  return figure !== 'rate';
}

function ratio(figure: Figure, ours: RoundFigures, theirs: RoundFigures | undefined): number | null {
  if (theirs === undefined) return null;
  const dividend = figuresOf[figure](ours);
  const divisor = figuresOf[figure](theirs);
  // Nothing is a multiple of nothing.
  return dividend === null || divisor === null || divisor === 0 ? null : dividend / divisor;
}

function betterBy(figure: Figure, ours: RoundFigures, theirs: RoundFigures | undefined): number | null {
  const times = ratio(figure, ours, theirs);
  if (times === null || times === 0) return null;
  return lessIsBetter(figure) ? 1 / times : times;
}

function ratioToFloor(
  { floor: name, figure, workload }: Case,
  round: RoundFigures,
  floor: FloorFigures,
): number | null {
  const value = figuresOf[figure](round);
  if (name === null || value === null) return null;
  if (name === 'memcpy') {
    const bytes = 'bytes' in workload ? workload.bytes : 0;
    return floor.memcpyBytesPerSecond === null ? null : (value * bytes) / floor.memcpyBytesPerSecond;
  }
  const floorNs = { ring: floor.ringNs, eventfd: floor.eventfdNs, cold: floor.coldNs }[name];
  if (floorNs === null) return null;
  return figure === 'rate' ? (value * floorNs) / 1e9 : value / floorNs;
}

function middleOfEach(lists: readonly (readonly number[])[]): number[] {
  return (lists[0] ?? []).map((_first, index) => median(lists.map((list) => list[index] ?? Number.NaN)));
}
