// Says so when the server of this page is gone, and keeps the table of a class up to date.
"use strict";

{
  const EVERY = 2000; // ms
  const PATIENCE = 10000; // ms: a computer that is busy with thirty learners answers late
  const { alive } = document.currentScript.dataset;
  const table = document.querySelector("[data-refresh]");
  let last = "";

  const ask = (address) => fetch(address, { signal: AbortSignal.timeout(PATIENCE) });

  const isThere = async () => {
    try {
      return (await ask(alive)).ok;
    } catch {
      return false;
    }
  };

  const refresh = async () => {
    const answer = await ask(table.dataset.refresh);
    const text = answer.ok ? await answer.text() : last; // escaped by the server
    if (text !== last) table.innerHTML = last = text;
  };

  const look = async () => {
    const there = await isThere();
    document.getElementById("stopped").hidden = there;
    // a link of a page without a server leads nowhere
    for (const part of document.querySelectorAll("main, nav, footer")) part.inert = !there;
    if (there && table) await refresh().catch(() => {});
    setTimeout(look, EVERY);
  };

  setTimeout(look, EVERY);
}
