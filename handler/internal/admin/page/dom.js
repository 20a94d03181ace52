// Changes of the document: text and attributes, never markup.
export const $ = (id) => document.getElementById(id);

// clean replaces characters that change the direction of text, and make a name look like another.
export const clean = (value) => String(value).replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

export function text(element, value) {
  const wanted = clean(value);
  if (element.textContent !== wanted) element.textContent = wanted;
}

// list makes one child for each item, and keeps the elements of items that stay: focus and selection survive.
export function list(container, items, template, keyOf, update) {
  const old = new Map([...container.children].filter((e) => e.dataset.key !== undefined).map((e) => [e.dataset.key, e]));
  let at = [...container.children].find((e) => e.dataset.key !== undefined) || null;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = old.get(key);
    old.delete(key);
    if (!element) {
      element = $(template).content.firstElementChild.cloneNode(true);
      element.dataset.key = key;
    }
    if (element === at) at = at.nextElementSibling;
    else container.insertBefore(element, at);
    update(element, item);
  }
  for (const removed of old.values()) removed.remove();
}

// fill writes texts into the fields of an element, but not into those of list items inside it.
export function fill(element, texts) {
  for (const field of element.querySelectorAll("[data-f]")) {
    if (field.dataset.f in texts && field.closest("[data-key]") === element) text(field, texts[field.dataset.f]);
  }
}

export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

export function make(tag, content, attributes = {}) {
  const element = document.createElement(tag);
  if (content instanceof Array) element.append(...content.map((c) => (c instanceof Node ? c : clean(c))));
  else if (content !== undefined) element.textContent = clean(content);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function problem(id, error) {
  $(id).replaceChildren(make("p", error.message, { class: "problem" }));
}

export function svg(tag, attributes, content) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (content instanceof Array) element.append(...content);
  else if (content !== undefined) element.textContent = clean(content);
  return element;
}

// Rows and cells that are laid out as blocks on a phone stay a table for screen readers.
const roles = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };

function markTables(root) {
  for (const e of root.querySelectorAll("table, thead, tbody, tr, th, td")) {
    const role = roles[e.tagName] || (e.tagName === "TH" && (e.scope === "col" ? "columnheader" : "rowheader"));
    if (role) e.setAttribute("role", role);
  }
}
for (const root of [document, ...[...document.querySelectorAll("template")].map((t) => t.content)]) markTables(root);

export function table(label, heads, rows) {
  const body = rows.map((cells) => make("tr", cells.map((c, i) => (c instanceof Node ? make("td", [c]) : make(i ? "td" : "th", c, i ? {} : { scope: "row" })))));
  const whole = make("table", [make("thead", [make("tr", heads.map((h) => make("th", h, { scope: "col" })))]), make("tbody", body)]);
  return make("div", [whole], { class: "scroll", tabindex: "0", role: "region", "aria-label": label });
}
