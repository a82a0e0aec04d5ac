// The page asks /api/page once a second and shows what it says. Texts from the database are only ever set as text.
"use strict";

const $ = id => document.getElementById(id);
const POLL_MS = 1000;
const PATIENCE_MS = 10000;
const KEEP = 900; // points of the curve

let token = sessionStorage.getItem("reembed-token") || "";
let chosen = new URLSearchParams(location.search).get("id") || "";
let seenAt = 0;        // performance.now() of the newest answer
let points = [];       // {at: ms, processed, applied}
let pointsOf = "";
let last = null;
let asking = null;     // the operation in the dialog

// --- words and numbers ---

const whole = new Intl.NumberFormat("en-US", {maximumFractionDigits: 0});
const count = n => n === null || n === undefined ? "–" : whole.format(n);

// Cut, not rounded: nothing is 100 % before the last document is done.
const share = x => x === null || x === undefined ? "–" : (Math.floor(x * 1000 + 1e-9) / 10).toFixed(1) + " %";
const rate = x => x === null || x === undefined ? "–" : (x >= 100 ? whole.format(x) : x >= 10 ? x.toFixed(1) : x.toFixed(2)) + " /s";

function duration(secs) {
  if (secs === null || secs === undefined) return "–";
  secs = Math.max(0, secs);
  const m = Math.floor(secs / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  if (d > 0) return `${d} d ${h % 24} h`;
  if (h > 0) return `${h} h ${m % 60} min`;
  if (m > 0) return `${m} min ${Math.floor(secs % 60)} s`;
  return `${Math.floor(secs)} s`;
}

const STATES = {
  planned: ["planned", ""], in_progress: ["in progress", "info"], paused: ["paused", "warn"], failed: ["failed", "alarm"],
  completed: ["completed", "good"], cancelled: ["cancelled", ""], rolled_back: ["rolled back", "warn"],
};
const STAGES = {capture: "installing change capture", backfill: "embedding documents", index: "building the index", verify: "comparing both sides"};
const PHASES = {stable: ["stable", ""], migrating: ["migrating", "info"], rollback_window: ["rollback window", "good"]};
const GATES = {coverage: "Coverage", index: "Index", change_lag: "Change lag", failed: "Failed documents", overlap: "Comparison", approval: "Approval"};
const REASONS = {
  content_too_large: "too long for the model", invalid_encoding: "broken encoding", content_deleted: "deleted meanwhile",
  permanent_api_error: "refused by the provider", manual_skip: "left out by hand", empty_content: "no text", invalid_vector: "unusable vector",
};
const HELD = {
  active_hours: "outside its active hours", replica_lag: "a replica is behind", wal_rate: "the server writes much WAL",
  waiting_locks: "sessions wait for locks", documents_per_second: "the limit of documents a second", provider: "the provider",
};

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}
const set = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
const fill = (id, children) => $(id).replaceChildren(...children);
const width = (node, x) => { node.style.width = Math.max(0, Math.min(1, x || 0)) * 100 + "%"; };

// --- the curve ---

function remember(data) {
  const now = performance.now(), s = data.status;
  if (pointsOf !== s.migration_id) {
    pointsOf = s.migration_id;
    points = data.history.map(p => ({at: now - p[0] * 1000, processed: p[1], applied: p[2]}));
  }
  const point = {at: now, processed: s.processed, applied: s.changes_applied};
  const before = points[points.length - 1];
  if (!before || now > before.at) points.push(point);
  if (points.length > KEEP) points = points.filter((_, i) => i % 2 === 0 || i > KEEP - 60);
}

// Documents a second between the points, each over at least `least` ms.
function rates(least) {
  const made = [];
  for (let i = 1, from = 0; i < points.length; i++) {
    const took = points[i].at - points[from].at;
    if (took < least && i < points.length - 1) continue;
    if (took > 0)
      made.push({at: points[i].at, rate: Math.max(0, points[i].processed + points[i].applied - points[from].processed - points[from].applied) * 1000 / took});
    from = i;
  }
  return made;
}

function rateNow() {
  const end = points[points.length - 1];
  const from = points.find(p => end.at - p.at <= 6000);
  return !from || from === end || end.at - from.at < 900 ? null
    : Math.max(0, end.processed + end.applied - from.processed - from.applied) * 1000 / (end.at - from.at);
}

function drawChart() {
  if (points.length < 2) return;
  const first = points[0].at, end = points[points.length - 1].at, span = Math.max(1, end - first);
  const curve = rates(Math.max(2000, span / 150));
  const top = Math.max(1, ...curve.map(p => p.rate));
  const at = p => `${((p.at - first) / span * 600).toFixed(1)} ${(134 - p.rate / top * 126).toFixed(1)}`;
  const line = curve.length ? `M0 ${at(curve[0]).split(" ")[1]}L` + curve.map(at).join("L") : "";
  document.querySelector("#chart .line").setAttribute("d", line);
  document.querySelector("#chart .area").setAttribute("d", line ? `${line}L600 140L0 140Z` : "");
  set("chart-from", duration(span / 1000) + " ago");
  set("chart-top", "highest " + rate(top));
}

// --- one answer ---

function sentence(data) {
  const s = data.status, gates = s.gates.filter(g => !g.holds && g.gate !== "approval");
  const route = s.flipped_at ? `Queries are answered by ${s.target_model}.` : s.source_model ? `Queries are still answered by ${s.source_model}.` : "There is nothing to query yet.";
  const blocked = gates.length ? ` They go over when the gates hold: ${gates.map(g => (GATES[g.gate] || g.gate).toLowerCase()).join(", ")}.` : "";
  switch (s.state) {
  case "planned": return "Not started yet: reembed run FILE starts it.";
  case "paused": return `Paused: ${s.reason || "no reason given"}. ${route}`;
  case "failed": return `Failed: ${s.reason || "no reason given"}. Nothing that was stored is lost; resume when the cause is gone. ${route}`;
  case "cancelled": return `Cancelled${s.reason ? ": " + s.reason : ""}. Queries go to ${s.routing && s.routing.query_model || "nothing"}.`;
  case "rolled_back": return `Rolled back${s.reason ? ": " + s.reason : ""}. Queries are answered by ${s.source_model} again.`;
  case "completed":
    if (data.more.phase === "rollback_window") return `Done. ${route} Both sides are kept current, and a rollback is possible, for ${duration(data.more.window_left_secs)}.`;
    return `Done. ${route}` + (data.more.finalized ? " It was finalized." : " The rollback window is over.");
  }
  if (s.stalled) return `Stalled: it is in progress, and no worker is alive. Start one with reembed run FILE. ${route}`;
  if (data.throttle && data.throttle !== "documents_per_second") return `Held back: ${HELD[data.throttle] || data.throttle}. ${route}`;
  const stage = STAGES[s.stage] || "working";
  return `Now ${stage}. ${route}${s.flipped_at ? "" : blocked}`;
}

function showHero(data) {
  const s = data.status, state = STATES[s.state] || [s.state, ""];
  document.title = `${share(s.progress)} ${s.migration_id} – reembed`;
  set("title", s.migration_id);
  set("state", s.stalled ? "stalled" : state[0]);
  $("state").className = "pill " + (s.stalled ? "alarm" : state[1]);
  $("state").dataset.value = s.state;
  set("source-model", s.source_model || "no vectors");
  set("target-model", s.target_model);
  set("collection", `in ${s.collection}`);
  set("sentence", sentence(data));
  set("progress", share(s.progress));
  set("done-of", `${count(s.processed)} of ${count(s.total)} documents`);
  const [done, skipped, failed] = $("bar").children;
  width(done, s.total ? s.processed / s.total : s.progress);
  width(skipped, s.total ? s.skipped / s.total : 0);
  width(failed, s.total ? s.failed / s.total : 0);
  $("bar").setAttribute("aria-valuenow", Math.floor(s.progress * 100));
  set("eta", s.pending === 0 && s.state !== "planned" ? "none" : duration(s.eta_secs));
  set("rate", rate(s.throughput));
  set("rate-now", s.state === "in_progress" ? rate(rateNow()) : "–");
  set("running", s.started_at ? duration(s.completed_at ? (Date.parse(s.completed_at) - Date.parse(s.started_at)) / 1000 : data.more.running_secs) : "–");
  set("tokens", count(s.tokens));
  $("cost-box").hidden = s.cost === null;
  set("cost", s.cost === null ? "–" : s.cost.toFixed(s.cost < 1 ? 4 : 2));
}

function showQueries(data) {
  const s = data.status, r = s.routing || {}, phase = PHASES[r.phase] || [r.phase || "–", ""];
  const coverage = s.gates.find(g => g.gate === "coverage");
  set("query-model", r.query_model || "none");
  set("phase", phase[0]);
  $("phase").className = "tag " + phase[1];
  $("phase").dataset.value = r.phase || "";
  set("routing-text", `Answered by this model${s.flipped_at ? " since " + time(s.flipped_at) : ""}. Changes go to ${(r.write_models || []).join(" and ") || "nothing"}.`);
  $("window").hidden = r.phase !== "rollback_window";
  if (r.phase === "rollback_window") {
    const all = (Date.parse(s.window_ends_at) - Date.parse(s.completed_at)) / 1000;
    set("window-left", duration(data.more.window_left_secs));
    width($("window-bar"), all > 0 ? data.more.window_left_secs / all : 0);
  }
  set("coverage", share(s.effective_coverage));
  width($("coverage-bar"), s.effective_coverage);
  $("threshold-mark").hidden = !coverage;
  if (coverage) {
    set("threshold-text", `${share(coverage.required)} needed`);
    $("threshold-mark").style.left = coverage.required * 100 + "%";
  }
}

function showGates(gates) {
  const open = gates.filter(g => !g.holds).length;
  set("gates-sum", gates.length === 0 ? "" : open ? `${open} not yet` : "all hold");
  fill("gates", gates.map(g => {
    const item = element("li", g.holds ? "yes" : "no");
    item.dataset.gate = g.gate;
    item.dataset.holds = g.holds;
    item.append(element("span", "mark", g.holds ? "✓" : "○"), element("span", "name", GATES[g.gate] || g.gate), element("span", "text", g.text));
    return item;
  }));
}

function showCounts(s) {
  const rows = [["total", "Total"], ["processed", "Embedded"], ["pending", "To do"], ["in_flight", "In flight"], ["skipped", "Skipped"], ["failed", "Failed"],
    ["truncated", "Cut to fit"], ["changes_pending", "Changes waiting"], ["changes_applied", "Changes embedded"]];
  fill("counts", rows.map(([key, label]) => {
    const row = element("div"), figure = element("dd", key === "failed" && s.failed > 0 ? "bad" : "", count(s[key]));
    figure.dataset.field = key;
    row.append(element("dt", "", label), figure);
    return row;
  }));
}

function showFailures(failures) {
  const failed = failures.filter(f => f.kind === "failed").reduce((n, f) => n + f.documents, 0);
  const skipped = failures.filter(f => f.kind !== "failed").reduce((n, f) => n + f.documents, 0);
  set("failures-sum", failures.length ? `${count(failed)} failed, ${count(skipped)} skipped` : "");
  fill("failures", failures.length ? failures.map(f => {
    const item = element("div", "item"), head = element("div", "line1"), ids = element("div", "ids");
    item.dataset.reason = f.reason;
    head.append(element("span", f.kind === "failed" ? "bad" : "", `${f.kind}: ${REASONS[f.reason] || f.reason}`), element("strong", "", count(f.documents)));
    for (const id of f.doc_ids) ids.append(element("code", "", id));
    if (f.documents > f.doc_ids.length) ids.append(element("span", "small", `and ${count(f.documents - f.doc_ids.length)} more`));
    item.append(head);
    if (f.detail) item.append(element("div", "small", f.detail));
    item.append(ids);
    return item;
  }) : [element("p", "empty", "None. Every document that was read has its vector.")]);
}

function showWorkers(workers) {
  const alive = workers.filter(w => w.alive);
  set("workers-sum", `${alive.length} alive`);
  const shown = alive.length ? alive : workers.slice(0, 1);
  fill("workers", shown.length ? shown.map(w => {
    const item = element("div", "item"), head = element("div", "line1");
    item.dataset.worker = w.worker_id;
    item.dataset.alive = w.alive;
    head.append(element("span", w.alive ? "" : "dim", `${w.host} · ${w.pid}${w.alive ? "" : " · gone"}`), element("strong", "", count(w.processed)));
    item.append(head, element("div", "small", w.alive ? `${count(w.in_flight)} in flight` : `last heard of ${time(w.heartbeat_at)}`));
    if (w.alive && w.note) item.append(element("div", "note", w.note));
    return item;
  }) : [element("p", "empty", "None yet.")]);
}

function time(text) {
  const at = new Date(text), today = new Date();
  const clock = at.toLocaleTimeString("en-GB");
  return at.toDateString() === today.toDateString() ? clock : `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")} ${clock}`;
}

function showEvents(events) {
  fill("events", events.length ? events.map(e => {
    const item = element("li"), moved = e.from_state && e.to_state && e.from_state !== e.to_state ? `${e.from_state.replace("_", " ")} → ${e.to_state.replace("_", " ")}` : "";
    item.dataset.event = e.event;
    item.append(element("time", "", time(e.at)), element("span", "what", e.event.replaceAll("_", " ")),
      element("span", "who", [moved, e.text, "by " + e.actor].filter(Boolean).join(" · ")));
    return item;
  }) : [element("li", "empty", "Nothing happened yet.")]);
}

function showMigrations(migrations, shown) {
  $("pick").hidden = migrations.length < 2;
  const wanted = migrations.map(m => m.migration_id + m.state).join("\n");
  if ($("pick").dataset.shown === wanted + shown) return;
  $("pick").dataset.shown = wanted + shown;
  fill("pick", migrations.map(m => {
    const option = element("option", "", `${m.migration_id} (${(STATES[m.state] || [m.state])[0]})`);
    option.value = m.migration_id;
    option.selected = m.migration_id === shown;
    return option;
  }));
}

function show(data) {
  last = data;
  remember(data);
  showHero(data);
  drawChart();
  showQueries(data);
  showGates(data.status.gates);
  showCounts(data.status);
  showFailures(data.more.failures);
  showWorkers(data.status.workers);
  showEvents(data.more.events);
  showMigrations(data.more.migrations, data.status.migration_id);
  showControls(data);
  set("version", `reembed ${data.version}`);
  $("all").hidden = false;
}

function problem(title, text) {
  $("problem").hidden = !title;
  set("problem-title", title || "");
  set("problem-text", text || "");
}

// --- asking the server ---

async function request(path, options = {}) {
  const headers = {...(options.headers || {})};
  if (token) headers.Authorization = "Bearer " + token;
  return fetch(path, {...options, headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS)});
}

function askToken(wrong) {
  $("token-card").hidden = false;
  $("token-wrong").hidden = !wrong;
  $("all").hidden = true;
  problem();
}

async function poll() {
  try {
    const answer = await request("/api/page" + (chosen ? "?id=" + encodeURIComponent(chosen) : ""));
    if (answer.status === 401) {
      askToken(token !== "");
      token = "";
      sessionStorage.removeItem("reembed-token");
      return false;
    }
    $("token-card").hidden = true;
    const data = await answer.json();
    if (answer.ok) {
      seenAt = performance.now();
      problem();
      show(data);
    } else if (answer.status === 404) {
      seenAt = performance.now();
      $("all").hidden = true;
      problem(chosen ? "There is no such migration" : "No migration yet", chosen ? chosen : "reembed run FILE creates and starts one; it shows up here by itself.");
    } else {
      problem("The database does not answer", data.error + (data.hint ? " – " + data.hint : ""));
    }
  } catch (error) {
    problem("The server does not answer", "Is the process gone? This page goes on asking.");
  }
  return true;
}

function showAge() {
  const age = seenAt ? (performance.now() - seenAt) / 1000 : null;
  const fresh = age !== null && age < 3.5;
  $("live").className = "live " + (fresh ? "on" : age === null ? "" : age < 15 ? "late" : "off");
  set("live-text", fresh ? "live" : age === null ? "connecting" : `figures from ${duration(age)} ago`);
  document.body.classList.toggle("stale", !fresh && age !== null);
}

let going = false;
async function loop() {
  if (going) return;
  going = true;
  for (;;) {
    const began = performance.now();
    if (!await poll()) break;
    showAge();
    await new Promise(done => setTimeout(done, Math.max(100, POLL_MS - (performance.now() - began))));
  }
  going = false;
}

// --- control ---

const OPERATIONS = {
  pause: {label: "Pause", title: "Pause this migration?", text: "Workers stop within two seconds; what is being embedded is stored. Queries are not touched.", reason: true},
  resume: {label: "Resume", title: "Resume this migration?", text: "A worker goes on where it stopped: a process that ended because of the pause has to be started again."},
  cutover: {label: "Cut over", title: "Send queries to the new model?", text: "Without force only if every gate holds. Queries go over at once.", force: "Force: although a gate does not hold", grave: true},
  rollback: {label: "Roll back", title: "Send queries back to the old model?", text: "Queries go back at once.", reason: true, force: "Force: although the old side was not kept current", grave: true},
};

function possible(s, more) {
  const list = [];
  if (s.state === "in_progress") list.push("pause");
  if (s.state === "paused" || s.state === "failed") list.push("resume");
  if (!more.finalized && !s.flipped_at && ["in_progress", "paused", "rolled_back"].includes(s.state)) list.push("cutover");
  if (s.flipped_at && s.source_model && (["in_progress", "paused", "failed"].includes(s.state) || (s.state === "completed" && more.phase === "rollback_window"))) list.push("rollback");
  return list;
}

function showControls(data) {
  const list = data.control && token ? possible(data.status, data.more) : [];
  $("controls").hidden = list.length === 0;
  if ($("controls").dataset.list === list.join()) return;
  $("controls").dataset.list = list.join();
  fill("controls", list.map(name => {
    const button = element("button", OPERATIONS[name].grave ? "grave" : "", OPERATIONS[name].label);
    button.id = "do-" + name;
    button.addEventListener("click", () => confirmFirst(name));
    return button;
  }));
}

function confirmFirst(name) {
  const operation = OPERATIONS[name];
  asking = {name, id: last.status.migration_id};
  set("confirm-title", operation.title);
  set("confirm-text", operation.text);
  set("confirm-yes", operation.label);
  $("confirm-reason-box").hidden = !operation.reason;
  $("confirm-force-box").hidden = !operation.force;
  set("confirm-force-text", operation.force || "");
  $("confirm-reason").value = "";
  $("confirm-force").checked = false;
  $("confirm-error").hidden = true;
  $("confirm-yes").disabled = false;
  $("confirm").showModal();
}

async function carryOut() {
  const operation = OPERATIONS[asking.name], body = {migration_id: asking.id};
  if (operation.reason && $("confirm-reason").value) body.reason = $("confirm-reason").value;
  if (operation.force) body.force = $("confirm-force").checked;
  $("confirm-yes").disabled = true;
  try {
    const answer = await fetch("/api/" + asking.name, {method: "POST", cache: "no-store", body: JSON.stringify(body),
      headers: {"Content-Type": "application/json", Authorization: "Bearer " + token}});
    const said = await answer.json();
    if (answer.ok) {
      $("confirm").close();
      poll();
      return;
    }
    set("confirm-error", said.error + (said.hint ? " – " + said.hint : ""));
  } catch (error) {
    set("confirm-error", "The server does not answer; whether it was done shows above.");
  }
  $("confirm-error").hidden = false;
  $("confirm-yes").disabled = false;
}

function takeToken() {
  token = $("token").value.trim();
  $("token").value = "";
  if (!token) return;
  sessionStorage.setItem("reembed-token", token);
  loop();
}

$("token-go").addEventListener("click", takeToken);
$("token").addEventListener("keydown", event => { if (event.key === "Enter") takeToken(); });
$("confirm-no").addEventListener("click", () => $("confirm").close());
$("confirm-yes").addEventListener("click", carryOut);
$("pick").addEventListener("change", () => { chosen = $("pick").value; history.replaceState(null, "", "?id=" + encodeURIComponent(chosen)); poll(); });
setInterval(showAge, 500);
loop();
