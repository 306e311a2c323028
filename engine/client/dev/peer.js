// Runs in the previewed page: plays the engine's media plane, so that the page's own RTCPeerConnection
// gets an offer, a moving picture and statistics without an engine.
import { io } from "/socket.io/socket.io.esm.min.js";

const TOKEN = "talktime.token";
let socket = null;
let token = null;
const legs = new Map();

setInterval(() => {
  const now = sessionStorage.getItem(TOKEN);
  if (now === token) return;
  token = now;
  socket?.disconnect();
  socket = token ? connect(token) : null;
}, 200);

function connect(withToken) {
  const made = io("/rt", { auth: { token: withToken }, forceNew: true, transports: ["websocket"] });
  made.on("connect", () => made.emit("dev.peer"));
  made.on("dev.join", (body) => offer(made, body));
  made.on("dev.answer", ({ leg_id, sdp }) => legs.get(leg_id)?.setRemoteDescription({ type: "answer", sdp }));
  return made;
}

async function offer(to, { session_id, mode }) {
  const legId = `leg_${Math.random().toString(36).slice(2)}`;
  const connection = new RTCPeerConnection();
  legs.set(legId, connection);
  connection.addTransceiver("audio", { direction: "sendrecv" });
  if (mode === "video") {
    const [track] = picture().captureStream(20).getTracks();
    connection.addTransceiver(track, { direction: "sendrecv" });
  }
  await connection.setLocalDescription(await connection.createOffer());
  await new Promise((resolve) => {
    const check = () => connection.iceGatheringState === "complete" && resolve();
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(resolve, 1500);
    check();
  });
  to.emit("dev.offer", { session_id, leg_id: legId, sdp: connection.localDescription.sdp });
}

/** Somebody in front of a wall, breathing. */
function picture() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
  const context = canvas.getContext("2d");
  const shape = (colour, draw) => {
    context.fillStyle = colour;
    context.beginPath();
    draw();
    context.fill();
  };
  const paint = () => {
    const sway = Math.sin(performance.now() / 1400) * 8;
    const wall = context.createLinearGradient(0, 0, 1280, 720);
    wall.addColorStop(0, "#c9d6d3");
    wall.addColorStop(1, "#8ba5a8");
    context.fillStyle = wall;
    context.fillRect(0, 0, 1280, 720);
    shape("#6d868b", () => context.roundRect(90, 90, 270, 380, 12));
    shape("#dbe7e3", () => context.roundRect(110, 110, 230, 340, 6));
    shape("#26495c", () => context.ellipse(640 + sway, 800, 330, 330, 0, 0, 7));
    shape("#d9a98a", () => context.roundRect(590 + sway, 400, 100, 120, 40));
    shape("#4a332b", () => context.ellipse(640 + sway, 270, 148, 172, 0, 0, 7));
    shape("#e4b898", () => context.ellipse(640 + sway, 300, 118, 148, 0, 0, 7));
    shape("#4a332b", () => context.ellipse(640 + sway, 185, 128, 70, 0, 0, 7));
  };
  setInterval(paint, 50);
  paint();
  return canvas;
}
