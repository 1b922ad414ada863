const stale = document.getElementById("stale");
async function refresh() {
  try {
    // Whatever the status: without its database, drover web says so itself.
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("body > header ~ main"));
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
