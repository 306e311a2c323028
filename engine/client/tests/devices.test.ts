import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Devices } from "../src/client/devices";

class FakeTrack extends EventTarget {
  stopped = false;
  constructor(readonly kind: string) {
    super();
  }
  stop(): void {
    this.stopped = true;
  }
}

const asked: string[][] = [];
let failure: Error | null = null;

beforeEach(() => {
  asked.length = 0;
  failure = null;
  const getUserMedia = async (wanted: object) => {
    asked.push(Object.keys(wanted));
    if (failure) throw failure;
    return { getTracks: () => Object.keys(wanted).map((kind) => new FakeTrack(kind)) };
  };
  Object.defineProperty(globalThis, "navigator", {
    value: { mediaDevices: { getUserMedia } },
    configurable: true,
  });
});

test("camera and microphone are asked for in one question", async () => {
  const devices = new Devices();
  await devices.open("audio", "video");
  assert.deepEqual(asked, [["audio", "video"]]);
  assert.equal(devices.get("video")?.kind, "video");
});

test("what is open or being opened is not asked for again", async () => {
  const devices = new Devices();
  await Promise.all([devices.open("audio"), devices.open("audio", "video")]);
  assert.deepEqual(asked, [["audio"], ["video"]]);
});

test("T50 switching off releases the device", async () => {
  const devices = new Devices();
  await devices.open("video");
  const track = devices.get("video") as unknown as FakeTrack;
  devices.close("video");
  assert.equal(track.stopped, true);
  assert.equal(devices.get("video"), null);
});

test("a device that opens after the session ended is released at once", async () => {
  const devices = new Devices();
  const tracks: MediaStreamTrack[] = [];
  devices.on("changed", ({ track }) => track && tracks.push(track));
  const opening = devices.open("video");
  await Promise.resolve();
  devices.dispose();
  await opening;
  assert.deepEqual(tracks, []);
  assert.equal(devices.get("video"), null);
});

test("a device that is taken away counts as lost, one that was switched off does not", async () => {
  const devices = new Devices();
  const lost: boolean[] = [];
  await devices.open("audio", "video");
  devices.on("changed", (change) => lost.push(change.lost));
  devices.get("audio")?.dispatchEvent(new Event("ended"));
  devices.close("video");
  assert.deepEqual(lost, [true, false]);
});

for (const [name, code] of [
  ["NotAllowedError", "device_denied"],
  ["NotFoundError", "device_missing"],
  ["NotReadableError", "device_in_use"],
  ["TypeError", "device_failed"],
] as const) {
  test(`${name} is told as ${code}, and the next try is free`, async () => {
    const devices = new Devices();
    failure = Object.assign(new Error("no"), { name });
    await assert.rejects(devices.open("audio"), { code });
    failure = null;
    await devices.open("audio");
    assert.equal(devices.get("audio")?.kind, "audio");
  });
}
