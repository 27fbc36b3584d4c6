// What is typed into a form with data-keep stays in this tab until the node has it: over an error,
// a sign-in, a reload. The node says that it has it by data-done on the page it answers with.
"use strict";

{
const SENT = "typed and sent";
let usedAt = Date.now();

// Typing is a use of the session; a session that is over is told while the words still stand here.
async function used(form) {
  if (Date.now() - usedAt < 1000 * Number(form.dataset.usedSeconds || 60)) return;
  usedAt = Date.now();
  const answer = await fetch("/sign-in/used", { redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect") tell(form, "You are signed out. What you typed stays in this tab: save it to sign in again and go on.");
}

function tell(form, text, step) {
  let line = form.querySelector(".typed-line");
  if (!line) {
    line = Object.assign(document.createElement("p"), { className: "notice typed-line" });
    line.setAttribute("role", "status");
    form.prepend(line);
  }
  line.textContent = text;
  if (step) line.append(" ", step);
}

const fields = (form) => [...form.elements].filter((field) =>
  field.name && !["hidden", "password", "file", "submit", "button"].includes(field.type));
const stamps = (form) => [...form.elements].filter((field) => ["seen", "said"].includes(field.name));
const value = (field) => (["checkbox", "radio"].includes(field.type) ? field.checked : field.value.replaceAll("\r\n", "\n"));
const all = (list) => list.map((field) => [field.name, field.type === "radio" ? field.value : "", value(field)]);

class Kept {
  constructor(form) {
    this.form = form;
    this.key = `typed: ${form.dataset.keep}`;
    this.first = JSON.stringify(all(fields(form)));
    this.putBack();
    const listen = (name, done) => document.addEventListener(name, (event) => { if (event.target.form === form) done(event.target); });
    listen("input", (field) => { this.keep(); this.measure(field); used(form); });
    form.addEventListener("submit", () => { this.leaving = true; sessionStorage.setItem(SENT, this.key); });
    window.addEventListener("pageshow", () => { this.leaving = false; });
    window.addEventListener("beforeunload", (event) => { if (this.isDirty() && !this.leaving) event.preventDefault(); });
  }

  isDirty() { return JSON.stringify(all(fields(this.form))) !== this.first; }

  keep() {
    const text = JSON.stringify({ at: Date.now(), fields: all(fields(this.form)), stamps: all(stamps(this.form)) });
    try {
      if (this.isDirty()) sessionStorage.setItem(this.key, text); else this.drop();
    } catch { /* The tab has no room: leaving the page still asks. */ }
  }

  drop() { sessionStorage.removeItem(this.key); }

  putBack() {
    // A page that came back with a fault holds the newest words itself, unsaved.
    if (document.querySelector("[data-unsaved]")) { this.first = ""; this.keep(); return; }
    const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "null");
    if (!kept || JSON.stringify(kept.fields) === this.first) { this.drop(); return; }
    for (const [list, values] of [[fields(this.form), kept.fields], [stamps(this.form), kept.stamps]]) {
      for (const field of list) {
        const found = values.find(([name, which]) => name === field.name && which === (field.type === "radio" ? field.value : ""));
        if (!found) continue;
        if (typeof found[2] === "boolean") field.checked = found[2]; else field.value = found[2];
        field.closest("details")?.setAttribute("open", "");
      }
    }
    const step = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: "Discard it" });
    step.addEventListener("click", () => { this.drop(); this.leaving = true; location.reload(); });
    tell(this.form, `What you typed here at ${new Date(kept.at).toLocaleTimeString()} was not saved: it is put back.`, step);
  }

  measure(field) {
    const most = Number(field.dataset.longest ?? 0), length = field.value.length;
    field.setCustomValidity?.(most && length > most ? `${length} characters; ${most} are kept at most.` : "");
  }
}

if (document.querySelector("[data-done]")) {
  sessionStorage.removeItem(sessionStorage.getItem(SENT) ?? "");
  history.replaceState(null, "", location.pathname);
}
for (const form of document.querySelectorAll("form[data-keep]")) new Kept(form);
}
