// What makes the pages better where there is JavaScript. They work without it.
"use strict";

(() => {
  const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const parsed = (text) => new DOMParser().parseFromString(text, "text/html");

  const fetched = async (address, options = {}) => {
    const answer = await fetch(address, { credentials: "same-origin", ...options });
    const elsewhere = answer.redirected && new URL(answer.url).pathname !== new URL(address, location.href).pathname;
    // A session that is over answers with the login: go there, and back. What was typed leads there when it is sent.
    if ((elsewhere || answer.status === 401) && !options.body) location.reload();
    return parsed(await answer.text());
  };

  // Who has to log in elsewhere: there is a window for that, and when they are in, it closes, and the page goes on.
  const outside = async (words) => {
    const back = document.getElementById("back");
    const login = document.querySelector("[target=ceph-login]");
    let opened;
    words.hidden = false;
    login.addEventListener("click", (event) => {
      opened = window.open(login.href, login.target);
      if (opened) event.preventDefault();
    });
    for (;;) {
      await pause(1);
      try {
        const answer = await fetch(words.dataset.login, { credentials: "same-origin", redirect: "manual" });
        if (answer.type !== "opaqueredirect") continue;
      } catch {
        continue;
      }
      if (opened) opened.close();
      return location.replace(back.href);
    }
  };

  const stops = (part) => [...part.querySelectorAll("a, button, input, select, summary, [tabindex]")];

  const replace = (here, there) => {
    if (here.innerHTML === there.innerHTML) return;
    const selected = document.getSelection();
    if (!selected.isCollapsed && here.contains(selected.anchorNode)) return;
    // whoever is in there with the keyboard stays where they are
    const at = stops(here).indexOf(document.activeElement);
    const words = at < 0 ? "" : document.activeElement.textContent;
    here.innerHTML = there.innerHTML;
    prepare(here);
    if (at >= 0) {
      const same = stops(here)[at];
      if (!same || same.textContent !== words) here.tabIndex = -1;
      (same && same.textContent === words ? same : here).focus({ preventScroll: true });
    }
  };

  // What a part that moves has to say to those who hear it: once for each change, and not all of it.
  const say = (here, there) => {
    if (here.dataset.say === there.dataset.say) return;
    here.dataset.say = there.dataset.say;
    document.getElementById("news").textContent = there.dataset.say;
  };

  // Parts that move: looked at anew every so many seconds, while somebody looks.
  const live = async (part) => {
    const seconds = Number(part.dataset.live);
    for (;;) {
      await pause(seconds);
      if (!part.isConnected) return;
      if (document.hidden) continue;
      try {
        const found = (await fetched(location.href)).getElementById(part.id);
        // what it was about has become something else, which has a page of its own
        if (!found) return location.reload();
        const settled = !found.dataset.live;
        replace(part, found);
        say(part, found);
        if (settled) return;
      } catch {
        await pause(5);
      }
    }
  };

  // What would be done, while it is being typed.
  const check = (form) => {
    const shown = document.getElementById("check");
    let asked = 0;
    let timer;
    const ask = async () => {
      const turn = ++asked;
      const fields = new URLSearchParams(new FormData(form));
      fields.delete("typed");
      fields.set("rehearse", "yes");
      try {
        const found = (await fetched(form.action, { method: "POST", body: fields })).getElementById("check");
        if (turn === asked && found) replace(shown, found);
      } catch {
        // the button does the same
      }
    };
    form.addEventListener("input", () => {
      clearTimeout(timer);
      const missing = [...form.querySelectorAll("[required]")].some((field) => !field.value);
      if (!missing) timer = setTimeout(ask, 700);
    });
  };

  const countdown = async (time) => {
    const until = 1000 * Number(time.dataset.until);
    while (time.isConnected) {
      const left = Math.max(0, Math.floor((until - Date.now()) / 1000));
      const parts = [Math.floor(left / 86400) + " d", Math.floor(left / 3600) % 24 + " h", Math.floor(left / 60) % 60 + " min", left % 60 + " s"];
      time.textContent = left ? parts.slice(parts.findIndex((part) => !part.startsWith("0 "))).join(" ") + " left" : "the waiting time is over";
      if (!left) return;
      await pause(1);
    }
  };

  const copying = (button) => {
    if (!navigator.clipboard) return;
    button.hidden = false;
    const label = button.firstChild;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      label.textContent = "Copied";
      await pause(2);
      label.textContent = "Copy";
    });
  };

  const prepare = (part) => {
    part.querySelectorAll("[data-copy]").forEach(copying);
    part.querySelectorAll("[data-until]").forEach(countdown);
  };

  prepare(document);
  document.querySelectorAll("[data-live]").forEach(live);
  document.querySelectorAll("[data-check]").forEach(check);
  document.querySelectorAll("[data-login]").forEach(outside);
  const here = document.querySelector(".places [aria-current]");
  const places = here && here.closest("nav");
  if (places) places.scrollLeft = here.offsetLeft - 16;
  const trouble = document.getElementById("trouble");
  if (trouble) trouble.focus();
})();
