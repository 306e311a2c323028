import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { HEAL_MS, PeerLink } from "../src/client/peer";

/** As much of an RTCPeerConnection as the link uses. */
class FakeConnection extends EventTarget {
  static made: FakeConnection[] = [];
  iceConnectionState = "new";
  localDescription: { sdp: string } | null = null;
  remote: string[] = [];
  closed = false;
  readonly transceivers = ["audio", "video"].map((kind) => ({
    direction: "recvonly",
    currentDirection: null,
    receiver: { track: { kind } },
    sender: {
      track: null as unknown,
      async replaceTrack(track: unknown) {
        this.track = track;
      },
    },
  }));

  constructor() {
    super();
    FakeConnection.made.push(this);
  }

  getTransceivers = () => this.transceivers;
  setConfiguration = () => undefined;
  setRemoteDescription = async ({ sdp }: { sdp: string }) => void this.remote.push(sdp);
  createAnswer = async () => ({ type: "answer", sdp: `answer to ${this.remote.at(-1)}` });
  setLocalDescription = async (description: { sdp: string }) => {
    this.localDescription = description;
  };
  close = () => {
    this.closed = true;
  };

  turn(state: string): void {
    this.iceConnectionState = state;
    this.dispatchEvent(new Event("iceconnectionstatechange"));
  }
}

const offer = (leg_id: string, sdp: string) => ({ leg_id, sdp, ice_servers: [] });
const track = (name: string) => ({ name }) as unknown as MediaStreamTrack;
const made = () => FakeConnection.made.at(-1) as FakeConnection;

beforeEach(() => {
  FakeConnection.made = [];
  Object.assign(globalThis, { MediaStream: class {} });
});

function link(): PeerLink {
  return new PeerLink(() => new FakeConnection() as unknown as RTCPeerConnection);
}

test("every part of an offer is answered for sending and receiving", async () => {
  const peer = link();
  assert.equal(await peer.answer(offer("leg_1", "o1")), "answer to o1");
  assert.deepEqual(
    made().transceivers.map(({ direction }) => direction),
    ["sendrecv", "sendrecv"],
  );
  assert.equal(peer.state, "connecting");
});

test("T50 a camera is switched by replacing the track, not by negotiating", async () => {
  const peer = link();
  await peer.answer(offer("leg_1", "o1"));
  const camera = track("camera");
  await peer.setTrack("video", camera);
  assert.equal(made().transceivers[1]?.sender.track, camera);
  assert.equal(made().transceivers[0]?.sender.track, null);
  await peer.setTrack("video", null);
  assert.equal(made().transceivers[1]?.sender.track, null);
  assert.deepEqual(made().remote, ["o1"]);
});

test("a device opened before the offer is sent from the start", async () => {
  const peer = link();
  const microphone = track("microphone");
  await peer.setTrack("audio", microphone);
  await peer.answer(offer("leg_1", "o1"));
  assert.equal(made().transceivers[0]?.sender.track, microphone);
});

test("a fresh offer of the same leg renegotiates the same connection", async () => {
  const peer = link();
  await peer.answer(offer("leg_1", "o1"));
  await peer.answer(offer("leg_1", "o2"));
  assert.equal(FakeConnection.made.length, 1);
  assert.deepEqual(made().remote, ["o1", "o2"]);
});

test("a new leg replaces the connection and takes the devices along", async () => {
  const peer = link();
  const camera = track("camera");
  await peer.answer(offer("leg_1", "o1"));
  await peer.setTrack("video", camera);
  const first = made();
  await peer.answer(offer("leg_2", "o2"));
  assert.equal(first.closed, true);
  assert.equal(FakeConnection.made.length, 2);
  assert.equal(made().transceivers[1]?.sender.track, camera);
  first.turn("failed");
  assert.equal(peer.state, "connecting");
});

test("a path that fails asks for help at once", async () => {
  const peer = link();
  let troubles = 0;
  peer.on("trouble", () => troubles++);
  await peer.answer(offer("leg_1", "o1"));
  made().turn("connected");
  assert.equal(peer.state, "connected");
  made().turn("failed");
  assert.equal(troubles, 1);
  assert.equal(peer.state, "interrupted");
  peer.close();
});

test("a path that is disconnected gets time to heal", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const peer = link();
  let troubles = 0;
  peer.on("trouble", () => troubles++);
  await peer.answer(offer("leg_1", "o1"));
  made().turn("disconnected");
  context.mock.timers.tick(HEAL_MS - 1);
  made().turn("connected");
  context.mock.timers.tick(HEAL_MS);
  assert.equal(troubles, 0);
  made().turn("disconnected");
  context.mock.timers.tick(HEAL_MS);
  assert.equal(troubles, 1);
  peer.close();
});
