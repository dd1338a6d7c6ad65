/** The channel of a slot whose memory is there. */
import { allowsExternalBuffers } from './runtime.ts';
import { CopyingChannel } from './copying-channel.ts';
import { MappedChannel } from './mapped-channel.ts';
import type { ShmChannel, ShmChannelOptions } from './shm-channel.ts';

/** Ends the handshake of `options.slot`: from now on its rings are read. */
export function makeChannel(options: ShmChannelOptions, copying: boolean): ShmChannel {
  const { hub } = options.pump;
  const memory = hub.memory(options.slot, !copying && allowsExternalBuffers());
  const { buffer } = memory;
  const channel =
    buffer === undefined ? new CopyingChannel(options, memory) : new MappedChannel(options, memory, buffer);
  options.pump.own(options.slot, channel);
  hub.goLive(options.slot, options.isServer);
  return channel;
}
