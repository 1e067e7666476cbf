// Keeps the page of an install up to date. What it shows is made by the server; this only puts it in place.
"use strict";

(() => {
  const EVERY_MS = 2000;
  const AFTER_FAILURE_MS = 10000;
  const standing = document.getElementById("standing");
  const announcement = document.getElementById("announcement");
  const connection = document.getElementById("connection");
  const again = document.getElementById("again");
  const usual = connection.textContent;
  let token = standing.dataset.token;
  let shown = "";
  let timer = 0;
  let asking = false;

  const say = (text) => {
    if (connection.textContent !== text) connection.textContent = text;
  };

  const show = (answer) => {
    token = answer.token;
    say(usual);
    if (answer.html === shown) return;
    shown = answer.html;
    // written by our own server, which escapes whatever came from elsewhere
    standing.innerHTML = answer.html;
    if (standing.dataset.state !== answer.state) {
      standing.dataset.state = answer.state;
      document.title = answer.title;
      announcement.textContent = answer.title;
    }
  };

  const ask = async () => {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    let next = EVERY_MS;
    try {
      const response = await fetch(standing.dataset.url, {
        headers: { "X-Install-Token": token },
        cache: "no-store",
      });
      if (response.status === 401) {
        say("This page is too old to be kept up to date. Open the app again.");
        next = 0;
      } else if (response.ok) {
        show(await response.json());
      } else {
        say("How it goes on cannot be read at the moment. This page tries again.");
        next = AFTER_FAILURE_MS;
      }
    } catch {
      say("There is no connection at the moment. This page tries again.");
      next = AFTER_FAILURE_MS;
    }
    asking = false;
    if (next && !document.hidden) timer = setTimeout(ask, next);
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else ask();
  });
  again.addEventListener("click", ask);
  timer = setTimeout(ask, EVERY_MS);
})();
