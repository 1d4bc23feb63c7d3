// Asks the API every two seconds and writes what it says. Names and log lines come from containers and are not
// trusted: they only ever become text nodes.
"use strict";

const PERIOD_MS = 2000;
const ACTIONS_SHOWN = 50;
const INCIDENTS_SHOWN = 10;
const SUBJECTS_SHOWN = 3;
const STRANDED_SHOWN = 3;
const MOVES_SHOWN = 10;
// A look at all nodes is asked for once in so many rounds.
const NODES_ROUNDS = 5;

function cell(text, className) {
  const td = document.createElement("td");
  if (className) td.className = className;
  td.textContent = text;
  return td;
}

function mark(text) {
  const td = document.createElement("td");
  const span = document.createElement("span");
  span.className = "mark " + text;
  span.textContent = text.replaceAll("_", " ");
  td.append(span);
  return td;
}

function time(ms) {
  return new Date(ms).toLocaleTimeString();
}

function fill(id, rows, empty, columns) {
  const body = document.getElementById(id);
  if (rows.length === 0) {
    const td = cell(empty, "quiet");
    td.colSpan = columns;
    const tr = document.createElement("tr");
    tr.append(td);
    body.replaceChildren(tr);
    return;
  }
  body.replaceChildren(...rows.map((cells) => {
    const tr = document.createElement("tr");
    tr.append(...cells);
    return tr;
  }));
}

function subject(s) {
  return s.name || s.service || (s.node ? "node " + s.node : "everything");
}

function signalRow(signal) {
  const why = cell(signal.reason);
  if (signal.said) {
    const because = signal.said.because ? ": " + signal.said.because : "";
    const said = document.createElement("div");
    said.className = "quiet";
    said.textContent = signal.said.opinion + " at " + time(signal.said.at) + because;
    why.append(said);
  }
  return [cell(time(signal.opened_at), "number"), mark(signal.severity), cell(signal.kind.replaceAll("_", " ")), cell(subject(signal.subject)), why];
}

function incidentRow(incident) {
  const cause = incident.causes[0];
  const more = incident.subjects.length - SUBJECTS_SHOWN;
  const sick = incident.subjects.slice(0, SUBJECTS_SHOWN).map(subject).join(", ") + (more > 0 ? " and " + more + " more" : "");
  return [cell(time(incident.began_at), "number"), mark(incident.severity), cell(sick), cell(incident.signals.length, "number"),
    cell(cause ? cause.origin : ""), cell(cause ? cause.sentence : "")];
}

function stepText(step) {
  return step.action.replaceAll("_", " ") + " " + step.name;
}

function actionRow(entry) {
  const plan = entry.plan;
  const verdict = entry.verdict;
  const last = verdict ? mark(verdict.kind) : cell(entry.phase === "executed" ? "waiting" : "", "quiet");
  if (verdict) last.append(" " + verdict.reason);
  return [cell(time(plan.created_at), "number"), cell(plan.service), cell(plan.steps.map(stepText).join(", ")), mark(entry.phase), cell(plan.cause.reason), last];
}

function serviceRow(service) {
  const notes = service.copy_obstacles.map((why) => "no replica can be made: " + why)
    .concat(service.label_problems.map((p) => p.label + ": " + p.problem));
  if (service.signals_open > 0) notes.unshift(service.signals_open + " open signals");
  const load = service.utilisation === null ? "" : Math.round(service.utilisation * 100) + "% of capacity";
  const scale = service.scale ? service.scale.min + ".." + service.scale.max : "";
  return [cell(service.service), cell(service.mode + (service.heal ? ", heal" : "")), cell(service.serving + " of " + service.replicas, "number"),
    cell(scale, "number"), cell(load, "number"), cell(notes.join("; "))];
}

function cores(millicores) {
  return (millicores / 1000).toFixed(1);
}

function gib(bytes) {
  return (bytes / 2 ** 30).toFixed(1) + " GiB";
}

function some(items, shown, text) {
  const more = items.length - shown;
  return items.slice(0, shown).map(text).join("; ") + (more > 0 ? "; and " + more + " more" : "");
}

function nodeRow(node) {
  const known = node.needed.known;
  const whole = node.capacity;
  const why = (it) => it.container + ": " + it.why.map((w) => w.text).join(", ");
  const notes = some(node.examples, STRANDED_SHOWN, why) || (node.needed.unknown > 0 ? "what " + node.needed.unknown + " containers need is not known" : "");
  return [cell(node.node + (node.hearing === "silent" ? ", silent" : "")), cell(node.zone || ""),
    cell(cores(known.cpu) + (whole ? " of " + cores(whole.cpu) : ""), "number"), cell(gib(known.memory) + (whole ? " of " + gib(whole.memory) : ""), "number"),
    cell(node.containers, "number"), cell(node.survives), cell(notes)];
}

function adviceRow(advice) {
  const move = (it) => it.container + " to " + it.to + (it.caution ? " (" + it.caution + ")" : "");
  return [cell(advice.node), cell(advice.benefit), cell(some(advice.moves, MOVES_SHOWN, move))];
}

let round = 0;

async function refreshNodes() {
  if (round++ % NODES_ROUNDS !== 0) return;
  const fleet = await ask("nodes");
  fill("room", fleet.nodes.map(nodeRow), "No node has been heard of.", 7);
  fill("advice", fleet.advice.map(adviceRow), "None" + (fleet.remarks.length > 0 ? ": " + fleet.remarks.join("; ") : "") + ".", 3);
}

// One line for each order that is under way.
function updateLine(listed) {
  const { phase, done, of, reason } = listed.progress;
  const p = document.createElement("p");
  p.textContent = listed.update.service + " is to run " + listed.update.image + ": " + phase.replaceAll("_", " ") + ", "
    + done + " of " + of + " replicas run it; " + reason;
  return p;
}

function isUnderWay(listed) {
  return listed.progress && !["finished", "rolled_back", "refused"].includes(listed.progress.phase);
}

async function ask(what) {
  const answer = await fetch("/api/v1/" + what);
  if (!answer.ok) throw new Error(what + ": " + answer.status);
  return answer.json();
}

function banner(text) {
  const element = document.getElementById("banner");
  element.hidden = text === "";
  element.textContent = text;
}

async function refresh() {
  try {
    const [status, incidents, signals, actions, services, updates] = await Promise.all(
      ["status", "incidents", "signals", "actions", "services", "updates"].map(ask));
    document.getElementById("nodes").textContent = status.nodes.length;
    document.getElementById("running").textContent = status.containers_running;
    document.getElementById("open").textContent = status.signals_open;
    document.getElementById("plans").textContent = status.plans_running;
    fill("incidents", incidents.slice(0, INCIDENTS_SHOWN).map(incidentRow), "No incident.", 6);
    fill("signals", signals.map(signalRow), "Nothing is out of the ordinary.", 5);
    fill("actions", actions.slice(0, ACTIONS_SHOWN).map(actionRow), "Nothing has been done.", 6);
    fill("services", services.map(serviceRow), "No container seen yet.", 6);
    await refreshNodes();
    document.getElementById("updates").replaceChildren(...updates.filter(isUnderWay).map(updateLine));
    document.getElementById("updated").textContent = "as of " + time(status.at);
    banner(status.breaker ? "Acting is stopped until " + time(status.breaker.open_until) + ": " + status.breaker.reason : "");
  } catch (error) {
    banner("The console does not answer (" + error.message + "); what stands here may be old.");
  }
  setTimeout(refresh, PERIOD_MS);
}

refresh();
