// Keeps the console's page up to date, and runs its dialog. Text that comes from elsewhere is made HTML by the server
// alone, which escapes it, or set as text here.
"use strict";
(() => {
  const EVERY = 1000, PATIENCE = 5000, OLD_SECONDS = 10;
  const $ = (id) => document.getElementById(id);
  const drawn = {};
  let token = "";        // in this page's memory only
  let readAt = null;     // by performance.now(): when what is shown was read from the cluster
  let asOf = "", cluster = "", silence = "", refused = false;

  async function ask(path, body) {
    const headers = {};
    if (token) headers.Authorization = "Bearer " + token;
    const options = { cache: "no-store", headers, signal: AbortSignal.timeout(body ? 60000 : PATIENCE) };
    if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(path, options);
    const type = answer.headers.get("Content-Type") || "";
    const told = type.startsWith("application/json") ? await answer.json() : { problem: await answer.text() };
    if (answer.ok) return told;
    const problem = typeof told.problem === "string" ? told.problem : "refused";
    throw Object.assign(new Error(problem.trim() || "status " + answer.status), { status: answer.status });
  }

  function draw(id, html) {
    if (drawn[id] === html) return;
    drawn[id] = html;
    const place = $(id), focused = document.activeElement;
    const key = place.contains(focused) && focused.dataset ? focused.dataset : null;
    const made = new DOMParser().parseFromString(html, "text/html");
    place.replaceChildren(...made.body.childNodes);
    if (key && key.act) {
      const again = place.querySelector(`[data-act="${key.act}"][data-component="${key.component}"]`);
      if (again) again.focus();
    }
  }

  const ago = (seconds) => seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;

  function tell() {
    const age = readAt === null ? null : (performance.now() - readAt) / 1000;
    $("age").textContent = age === null ? asOf : `${asOf}, ${ago(age)} ago`;
    const old = age !== null && age > OLD_SECONDS;
    const shown = age === null ? "" : ` What is shown is ${ago(age)} old.`;
    const why = silence || cluster || (old ? "The cluster has not answered for a while." : "");
    $("lost").textContent = why ? why + shown : "";
    $("lost").className = why ? "" : "quiet";
    $("components").classList.toggle("old", Boolean(why));
  }

  async function round() {
    try {
      const told = await ask("/api/picture");
      silence = "";
      cluster = told.lost;
      asOf = told.as_of;
      readAt = told.age === null ? null : performance.now() - told.age * 1000;
      for (const [id, html] of Object.entries(told.sections)) draw(id, html);
    } catch (error) {
      if (error.status === 401) {
        silence = "A token is needed to look.";
        if (!refused && !$("dialog").open) askToken(() => { silence = ""; });
        refused = true;
      } else if (error.status) {
        silence = `The console refuses: ${error.message}.`;
      } else {
        silence = "The console does not answer.";
      }
    }
    tell();
    setTimeout(round, EVERY);
  }

  // -- the dialog: a token, then the steps and a name, then what is written

  let go = null;

  function show({ title, text = "", steps = null, label = "", secret = false, button = "", act = null, ready = null }) {
    $("d-title").textContent = title;
    $("d-text").textContent = text;
    $("d-steps").hidden = steps === null;
    $("d-steps").textContent = steps === null ? "" : steps;
    $("d-label").hidden = !label;
    $("d-ask").textContent = label;
    const input = $("d-input");
    input.type = secret ? "password" : "text";
    input.value = "";
    $("d-problem").textContent = "";
    $("d-go").textContent = button;
    $("d-go").hidden = !button;
    const judge = () => { $("d-go").disabled = ready ? !ready(input.value) : false; };
    input.oninput = judge;
    judge();
    go = act;
    if (!$("dialog").open) $("dialog").showModal();
    if (label) input.focus();
  }

  async function press() {
    if (!go || $("d-go").disabled) return;
    $("d-go").disabled = true;
    $("d-problem").textContent = "";
    try {
      await go($("d-input").value);
    } catch (error) {
      if (error.status === 401) token = "";
      $("d-problem").textContent = error.message;
      $("d-go").disabled = false;
    }
  }

  function askToken(then) {
    show({
      title: "Who are you?", text: "The token is kept in this page's memory only, until the page is closed or loaded anew.",
      label: "Token", secret: true, button: "go on", ready: (value) => value.trim().length > 0,
      act: async (value) => {
        token = value.trim();
        await ask("/api/token", {});
        refused = false;
        $("dialog").close();
        await then();
      },
    });
  }

  async function preview(component, act) {
    show({ title: `${act} ${component}`, text: "The steps are asked for ..." });
    try {
      const found = await ask("/api/preview", { component, act });
      show({
        title: `${act} ${component}`, text: `This runs: ${found.command}`, steps: found.steps.join("\n"),
        label: `Type ${component} to go on`, button: act, ready: (value) => value === component,
        act: async (typed) => {
          await ask("/api/acts", { component, act, typed, seen: found.digest });
          follow();
        },
      });
    } catch (error) {
      if (error.status === 401) {
        token = "";
        askToken(() => preview(component, act));
        $("d-problem").textContent = error.message;
      } else {
        $("d-text").textContent = "";
        $("d-problem").textContent = error.message;
      }
    }
  }

  let following = 0;

  function follow() {
    const mine = ++following;
    let text = "", since = 0;
    const step = async () => {
      if (mine !== following || !$("dialog").open) return;
      try {
        const told = await ask(`/api/acts?since=${since}`);
        if (mine !== following) return;
        if (!since) show({ title: `${told.act} ${told.component}`, steps: "" });
        since = told.next;
        text += told.output;
        const box = $("d-steps"), below = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
        box.textContent = text || "begun ...";
        if (below) box.scrollTop = box.scrollHeight;
        const ended = told.code !== null;
        $("d-text").textContent = ended
          ? (told.code === 0 ? "Done." : `It ended with exit status ${told.code}.`)
          : `Under way since ${told.at.slice(11, 19)} UTC, begun by ${told.actor}. It goes on when this page is closed.`;
        $("d-problem").textContent = "";
        if (ended && !told.more) return;
      } catch (error) {
        $("d-problem").textContent = error.status ? error.message : "The console does not answer.";
      }
      setTimeout(step, EVERY);
    };
    step();
  }

  if ($("dialog")) {
    $("d-go").addEventListener("click", press);
    $("d-input").addEventListener("keydown", (event) => { if (event.key === "Enter") press(); });
    $("d-close").addEventListener("click", () => $("dialog").close());
    $("components").addEventListener("click", (event) => {
      const button = event.target.closest("button[data-act]");
      if (!button) return;
      const { component, act } = button.dataset;
      if (token) preview(component, act);
      else askToken(() => preview(component, act));
    });
  }
  setInterval(tell, 500);
  round();
})();
