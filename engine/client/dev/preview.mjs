// The design preview (`npm run preview`): the built page on an engine that only pretends.
// Two tabs, /?demo=customer and /?demo=expert, can call each other; alone, a bot plays the other party.
// POST /dev/options {speed, answers, balance_minor, ...} changes how it behaves; see world.mjs.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { Server } from "socket.io";
import { attachCalls } from "./calls.mjs";
import { handleRest, options, setOptions } from "./world.mjs";

const PORT = Number(process.env.PORT ?? 8070);
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml" };

// Stricter than a deployment needs: if the page works here, it works under the engine's policy too.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "media-src 'self' blob:",
  "connect-src 'self' ws:",
  "base-uri 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
});

async function answer(request, response) {
  const { pathname, search } = new URL(request.url, "http://preview");
  if (pathname === "/dev/options") return send(response, 200, setOptions(await readJson(request)));
  if (pathname.startsWith("/api/v1/")) return answerRest(request, response, pathname.slice(7) + search);
  if (pathname === "/" || pathname === "/call") return sendPage(response);
  return sendFile(response, pathname.replace("/static/client/", "dist/").replace(/^\//, ""));
}

async function answerRest(request, response, path) {
  const token = (request.headers.authorization ?? "").replace("Bearer ", "");
  const body = request.method === "POST" ? await readJson(request) : {};
  const { status, answer } = handleRest(request.method, path, body, token);
  await new Promise((resolve) => setTimeout(resolve, options.latency_ms));
  send(response, status, answer);
}

async function readJson(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString() || "{}");
}

/** The page, with the pretended media plane loaded before it. */
async function sendPage(response) {
  const page = await readFile("dist/index.html", "utf8");
  const script = '<script type="module" src="/dev/peer.js"></script>';
  response.writeHead(200, { "Content-Type": "text/html", "Content-Security-Policy": POLICY });
  response.end(page.replace("</head>", `${script}</head>`));
}

async function sendFile(response, name) {
  const known = /^(dist\/[\w.-]+|dev\/peer\.js)$/.test(name);
  const content = known ? await readFile(name).catch(() => null) : null;
  response.writeHead(content ? 200 : 404, { "Content-Type": TYPES[extname(name)] ?? "text/plain" });
  response.end(content);
}

function send(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

attachCalls(new Server(server));
server.listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${PORT}/?demo=customer`));
