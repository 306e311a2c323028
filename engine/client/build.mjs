// Builds dist/ (what the engine serves under /static/client/) or, with --tests, the tests for node.
import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { build, context } from "esbuild";

const browser = {
  bundle: true,
  format: "esm",
  target: ["es2022", "safari16"],
  minify: true,
  sourcemap: true,
  legalComments: "none",
  logLevel: "warning",
};

const pages = [
  { ...browser, entryPoints: ["src/client/index.ts"], outfile: "dist/talktime.js" },
  { ...browser, entryPoints: ["src/page/main.ts"], outfile: "dist/call.js" },
  { ...browser, entryPoints: ["src/page/styles/index.css"], outfile: "dist/call.css" },
  { ...browser, entryPoints: ["src/store/main.ts"], outfile: "dist/store.js" },
  { ...browser, entryPoints: ["src/store/styles/index.css"], outfile: "dist/store.css" },
];

async function buildPages() {
  await rm("dist", { recursive: true, force: true });
  await mkdir("dist", { recursive: true });
  await Promise.all(pages.map((options) => build(options)));
  await copyStatic();
}

async function copyStatic() {
  await cp("src/page/index.html", "dist/index.html");
  await cp("src/store/index.html", "dist/store.html");
  await cp("src/page/icon.svg", "dist/icon.svg");
}

async function watchPages() {
  await buildPages();
  for (const options of pages) await (await context(options)).watch();
  console.log("watching src/");
}

async function buildTests() {
  await rm(".build", { recursive: true, force: true });
  const names = (await readdir("tests")).filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: names.map((name) => `tests/${name}`),
    outdir: ".build/tests",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
    target: "node20",
    sourcemap: "inline",
    logLevel: "warning",
  });
}

if (process.argv.includes("--tests")) await buildTests();
else if (process.argv.includes("--watch")) await watchPages();
else await buildPages();
