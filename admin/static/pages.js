// Keeps the table of live sessions current, and prints receipts. Pages work without it.
const live = document.querySelector("[data-refresh]");

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(live.dataset.refresh, { redirect: "error" });
    if (answer.ok) live.innerHTML = await answer.text();
  } catch {
    // The next round tries again.
  }
}

if (live) setInterval(refresh, 2000);

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
