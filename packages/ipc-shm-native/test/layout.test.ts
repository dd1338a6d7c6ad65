import { expect, test } from 'vitest';
import { addon } from '../src/addon.ts';
import * as layout from '../src/layout.ts';

const native = addon().layout;
const word = (line: string, field: string): number => ((native[line] ?? NaN) + (native[field] ?? NaN)) / 4;

test('the constants of both layout files agree', () => {
  expect({
    recordAlignment: layout.RECORD_ALIGNMENT,
    recordHeaderBytes: layout.RECORD_HEADER_BYTES,
    recordLengthMask: layout.RECORD_LENGTH_MASK,
    minRingBytes: layout.MIN_RING_BYTES,
    maxRingBytes: layout.MAX_RING_BYTES,
    controlPrefixBytes: layout.CONTROL_PREFIX_BYTES,
    maxControlPayloadBytes: layout.MAX_CONTROL_PAYLOAD_BYTES,
    controlLane: layout.CONTROL_LANE,
    eventBit: layout.EVENT_BIT,
    slotMask: layout.SLOT_MASK,
    eventAccepted: layout.EVENT_ACCEPTED,
    eventReadable: layout.EVENT_READABLE,
    eventClosed: layout.EVENT_CLOSED,
    eventViolated: layout.EVENT_VIOLATED,
    eventRoom: layout.EVENT_ROOM,
    eventRefused: layout.EVENT_REFUSED,
    eventDeaf: layout.EVENT_DEAF,
    copyPlaceBytes: layout.COPY_PLACE_BYTES,
    copyPlaces: layout.COPY_PLACES,
  }).toMatchObject(
    Object.fromEntries(
      Object.entries(native).filter(
        ([name]) => !/Line$|^segment|lineBytes|^(data|control)(Head|Tail)$|^waiting/.test(name),
      ),
    ),
  );
});

test('each side finds its words where the other one has them', () => {
  expect(layout.SERVER_WORDS).toEqual({
    dataHeadOut: word('responseProducerLine', 'dataHead'),
    controlHeadOut: word('responseProducerLine', 'controlHead'),
    dataTailOut: word('responseConsumerLine', 'dataTail'),
    controlTailOut: word('responseConsumerLine', 'controlTail'),
    dataHeadIn: word('requestProducerLine', 'dataHead'),
    dataTailIn: word('requestConsumerLine', 'dataTail'),
    peerWaitingData: word('clientLine', 'waitingData'),
    peerWaitingSpace: word('clientLine', 'waitingSpace'),
  });
  expect(layout.CLIENT_WORDS).toEqual({
    dataHeadOut: word('requestProducerLine', 'dataHead'),
    controlHeadOut: word('requestProducerLine', 'controlHead'),
    dataTailOut: word('requestConsumerLine', 'dataTail'),
    controlTailOut: word('requestConsumerLine', 'controlTail'),
    dataHeadIn: word('responseProducerLine', 'dataHead'),
    dataTailIn: word('responseConsumerLine', 'dataTail'),
    peerWaitingData: word('serverLine', 'waitingData'),
    peerWaitingSpace: word('serverLine', 'waitingSpace'),
  });
});

test('the areas of a mapping are where the native side maps them, for every combination of ring sizes', () => {
  for (let request = layout.MIN_RING_BYTES; request <= layout.MAX_RING_BYTES; request *= 2) {
    for (const response of [8192, 1 << 20, 2 ** 30]) {
      const memory = {
        pageBytes: 4096,
        controlOffset: 128,
        requestRingBytes: request,
        responseRingBytes: response,
        controlRingBytes: 4096,
      };
      expect(Object.values(layout.areasOf(memory))).toEqual(addon().areas(4096, 128, request, response, 4096));
    }
  }
});
