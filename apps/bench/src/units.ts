/** Figures for people: three significant digits and a unit. */

export function formatNs(ns: number | null): string {
  if (ns === null) return '';
  if (ns < 1000) return `${digits(ns)} ns`;
  if (ns < 1e6) return `${digits(ns / 1e3)} µs`;
  return ns < 1e9 ? `${digits(ns / 1e6)} ms` : `${digits(ns / 1e9)} s`;
}

export function formatRate(perSecond: number | null): string {
  if (perSecond === null) return '';
  if (perSecond < 1000) return `${digits(perSecond)}/s`;
  return perSecond < 1e6 ? `${digits(perSecond / 1e3)} k/s` : `${digits(perSecond / 1e6)} M/s`;
}

export function formatBytesPerSecond(bytes: number | null): string {
  if (bytes === null) return '';
  return bytes < 1e9 ? `${digits(bytes / 1e6)} MB/s` : `${digits(bytes / 1e9)} GB/s`;
}

export function formatBytes(bytes: number | null): string {
  if (bytes === null) return '';
  return Math.abs(bytes) < 2 ** 20 ? `${digits(bytes / 2 ** 10)} KiB` : `${digits(bytes / 2 ** 20)} MiB`;
}

export function formatShare(share: number | null): string {
  return share === null ? '' : `${digits(share * 100)} %`;
}

export function formatRatio(ratio: number | null): string {
  return ratio === null ? '' : `${digits(ratio)}×`;
}

function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return size >= 1 || size === 0 ? value.toFixed(2) : value.toPrecision(3);
}
