// Live pages: the stream carries keys only, and what changed is fetched anew with its authorisation. One stream a browser
// where the browser can elect a tab (Web Locks need HTTPS or loopback); else one a visible tab. Without this all works too.
"use strict";
(() => {
  const REFRESH_MS = 1500;
  const area = document.querySelector("[data-live]");
  const status = document.querySelector(".live");
  const root = document.documentElement;

  document.querySelector("[data-theme-form]")?.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || !window.fetch) return;
    event.preventDefault();
    const body = new URLSearchParams(new FormData(event.target, button));
    root.dataset.theme = button.value;
    fetch("/look", { method: "POST", body, redirect: "manual" });
    button.value = button.value === "dark" ? "light" : "dark";
  });
  const theme = document.querySelector("[data-theme-form] button");
  if (theme && !root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches) theme.value = "light";

  if (!document.body.dataset.stream) return;

  let wanted = false, busy = false, touched = false, last = 0;
  area?.addEventListener("input", () => { touched = true; });

  const hears = (keys) => {
    const mine = area.dataset.live.split(" ");
    return keys.some((key) => key === "all" || mine.includes(key) || (mine.includes("item:*") && key.startsWith("item:")));
  };

  const refresh = async () => {
    // What someone is using or has chosen in is left alone until they are done.
    if (!wanted || busy || touched || document.hidden || area.contains(document.activeElement)) return;
    const wait = last + REFRESH_MS - Date.now();
    if (wait > 0) { busy = true; setTimeout(() => { busy = false; refresh(); }, wait); return; }
    wanted = false; busy = true; last = Date.now();
    try {
      const url = new URL(area.dataset.src, location.origin);
      url.searchParams.set("part", "live");
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.ok) replace(await answer.text());
    } catch { wanted = true; } finally { busy = false; }
  };

  const replace = (html) => {
    const open = [...area.querySelectorAll("details")].map((one) => one.open);
    area.innerHTML = html;
    area.querySelectorAll("details").forEach((one, at) => { one.open = open[at] ?? one.open; });
  };

  const changed = (keys) => { if (area && hears(keys)) { wanted = true; refresh(); } };
  document.addEventListener("focusout", () => setTimeout(refresh, 0));
  document.addEventListener("visibilitychange", () => setTimeout(refresh, 0));

  const say = (on) => {
    if (!status) return;
    status.hidden = false;
    status.classList.toggle("on", on);
    status.textContent = on ? status.dataset.on : status.dataset.off;
  };

  const listen = (told, state) => {
    const source = new EventSource(document.body.dataset.stream);
    let lost = false;
    source.onopen = () => { state(true); if (lost) told(["all"]); lost = false; };
    source.onerror = () => { state(false); lost = true; };
    source.addEventListener("changed", (event) => told(event.data.split("\n")));
    return source;
  };

  if (navigator.locks && window.BroadcastChannel) {
    const channel = new BroadcastChannel("starloop-live");
    let state = null;
    channel.onmessage = (event) => {
      if (event.data.ask) { if (state !== null) channel.postMessage({ on: state }); return; }
      if ("on" in event.data) say(event.data.on);
      if (event.data.keys) changed(event.data.keys);
    };
    channel.postMessage({ ask: true });
    // The lock is held for as long as this tab lives; the next in line takes over when it goes.
    navigator.locks.request("starloop-live", () => new Promise(() => {
      listen(
        (keys) => { channel.postMessage({ keys }); changed(keys); },
        (on) => { state = on; channel.postMessage({ on }); say(on); },
      );
    }));
  } else {
    let source = null;
    const follow = () => {
      if (document.hidden) { source?.close(); source = null; say(false); }
      else if (!source) { source = listen(changed, say); wanted = true; refresh(); }
    };
    document.addEventListener("visibilitychange", follow);
    follow();
  }
})();
