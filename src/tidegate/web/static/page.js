// Updates a page while things go on, and keys for pages that follow each other. No other scripts are loaded.
"use strict";

const main = document.querySelector("main");

// A part with a form that a person fills in is not replaced while it has the focus or was changed.
function isInUse() {
  const selected = document.getSelection();
  if (selected && !selected.isCollapsed) return true;
  const focused = document.activeElement;
  if (focused && focused.closest("form, details, .log")) return true;
  for (const field of document.querySelectorAll("#live input, #live select")) {
    if (field.type === "hidden") continue;
    const changed = field.options
      ? [...field.options].some((option) => option.selected !== option.defaultSelected && option.defaultSelected)
      : field.value !== field.defaultValue;
    if (changed) return true;
  }
  return false;
}

// A wide table scrolls: with the keyboard, too.
function makeScrollable() {
  for (const part of document.querySelectorAll(".wide")) {
    if (part.scrollWidth <= part.clientWidth) continue;
    const caption = part.querySelector("caption");
    part.tabIndex = 0;
    part.setAttribute("role", "region");
    part.setAttribute("aria-label", `Table: ${caption ? caption.textContent : document.title}`);
  }
}

let shown = document.getElementById("live")?.innerHTML;
makeScrollable();

async function update() {
  if (document.hidden || isInUse()) return;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const live = fresh.getElementById("live");
  const old = document.getElementById("live");
  if (!live || !old || isInUse()) return;
  const open = new Set([...old.querySelectorAll("details")].map((one, n) => (one.open ? n : -1)));
  if (live.innerHTML !== shown) {
    shown = live.innerHTML;
    const focused = document.activeElement && old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    live.querySelectorAll("details").forEach((one, n) => { one.open = open.has(n); });
    old.replaceWith(live);
    makeScrollable();
    if (focused) {
      const again = live.querySelector(`[href="${CSS.escape(focused)}"]`);
      if (again) again.focus({ preventScroll: true });
    }
  }
  const when = main.querySelector(".updated");
  const freshWhen = fresh.querySelector(".updated");
  if (when && freshWhen) when.firstChild.textContent = freshWhen.firstChild.textContent;
  document.body.classList.remove("cut-off");
}

const seconds = Number(main && main.dataset.refresh);
if (seconds > 0) {
  const button = document.querySelector("[data-pause]");
  let paused = false;
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      paused = !paused;
      button.setAttribute("aria-pressed", String(paused));
      button.textContent = paused ? "Resume updates" : "Pause updates";
    });
  }
  const turn = async () => {
    try {
      if (!paused) await update();
    } catch (error) {
      document.body.classList.add("cut-off");
    }
    setTimeout(turn, seconds * 1000);
  };
  setTimeout(turn, seconds * 1000);
}

// Left and right go to the previous and next page, where there are links with these relations.
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest("input, select, textarea, [role=region]")) return;
  const relation = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const link = relation && document.querySelector(`a[rel="${relation}"]`);
  if (link) link.click();
});

// Says why a picture could not be drawn.
for (const picture of document.querySelectorAll(".look img")) {
  const explain = async () => {
    const answer = await fetch(picture.src, { headers: { accept: "application/json" } });
    if (answer.ok) return;
    const { error, why, next } = await answer.json();
    const text = document.createElement("span");
    text.textContent = [error, why, next].filter(Boolean).join(": ");
    picture.replaceWith(text);
  };
  picture.addEventListener("error", explain);
  if (picture.complete && !picture.naturalWidth) explain();
}

// A choice in a form with this mark is shown at once.
for (const form of document.querySelectorAll("form[data-submit]")) {
  form.addEventListener("change", () => form.requestSubmit());
}
