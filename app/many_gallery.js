// The gallery of many pictures: cards come as HTML, sorting, filtering and correcting happen here.

const list = element.querySelector("ol");
const tools = element.querySelector(".tools");
const heard = element.querySelector(".heard");
const sort = element.querySelector("select");
const shown = new Map(); // place -> {html, card}
let saidAt = 0;
let unsaved = false; // whether captions would be lost with the page

const orders = {
  came: (one, other) => one.dataset.place - other.dataset.place,
  name: (one, other) => one.dataset.name.localeCompare(other.dataset.name, undefined, {numeric: true}),
  sure: (one, other) => sureness(one) - sureness(other),
};

const filters = {
  all: () => true,
  uncertain: card => card.dataset.kind === "uncertain",
  failed: card => card.dataset.kind === "failed",
  edited: card => "edited" in card.dataset,
};

// What has no caption comes last: nothing can be corrected there.
function sureness(card) {
  if (card.dataset.kind === "failed") return 3;
  return card.dataset.sure === "" ? 2 : Number(card.dataset.sure);
}

function take(htmls) {
  const places = new Set();
  for (const html of htmls) {
    const place = html.match(/data-place="(\d+)"/)[1];
    places.add(place);
    const before = shown.get(place);
    if (before?.html === html) continue;
    if (before?.card.contains(document.activeElement)) continue; // somebody is writing there
    unsaved = true;
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const card = holder.content.firstElementChild;
    before?.card.replaceWith(card);
    shown.set(place, {html, card});
  }
  for (const [place, {card}] of shown) {
    if (places.has(place)) continue;
    card.remove();
    shown.delete(place);
  }
}

function arrange() {
  const cards = [...shown.values()].map(each => each.card);
  const filter = tools.querySelector("input:checked").value;
  for (const input of tools.querySelectorAll("input")) {
    const count = cards.filter(filters[input.value]).length;
    input.parentElement.querySelector(".count").textContent = count.toLocaleString();
  }
  const order = orders[sort.value];
  cards.sort((one, other) => order(one, other) || orders.came(one, other));
  const writing = document.activeElement;
  cards.forEach((card, position) => {
    card.hidden = !filters[filter](card) && !card.contains(writing);
    if (list.children[position] !== card) list.insertBefore(card, list.children[position] ?? null);
  });
  if (list.contains(writing)) writing.focus(); // moving an element takes the focus from it
  tools.hidden = element.querySelector(".hint").hidden = cards.length === 0;
}

// A screen reader is told now and then, and how it ended.
function say(sentence, running) {
  const now = Date.now();
  if (running && now - saidAt < 10000) return;
  saidAt = now;
  if (heard.textContent !== sentence) heard.textContent = sentence;
}

function draw() {
  const value = props.value || {cards: [], said: "", running: false};
  take(value.cards);
  arrange();
  say(value.said, value.running);
}

function save(field) {
  const card = field.closest("li");
  const text = field.value.replace(/\s+/g, " ").trim() || field.dataset.said;
  field.value = field.defaultValue = text;
  card.toggleAttribute("data-edited", text !== field.dataset.said);
  const image = card.querySelector("img");
  if (image) image.alt = text;
  unsaved = true;
  trigger("submit", {place: Number(card.dataset.place), text});
}

function leave(field, step) {
  const fields = [...list.querySelectorAll("li:not([hidden]) textarea")];
  const next = fields[fields.indexOf(field) + step];
  if (next) next.select();
  else field.blur();
  next?.focus();
}

list.addEventListener("keydown", event => {
  const field = event.target;
  if (field.tagName !== "TEXTAREA" || event.isComposing) return;
  if (event.key === "Enter") {
    event.preventDefault();
    leave(field, event.shiftKey ? -1 : 1);
  } else if (event.key === "Escape") {
    field.value = field.defaultValue;
  }
});
list.addEventListener("change", event => {
  save(event.target);
  arrange();
});
tools.addEventListener("change", arrange);
window.addEventListener("many-downloaded", () => unsaved = false);
window.addEventListener("beforeunload", event => {
  if (unsaved && shown.size) event.preventDefault();
});
watch("value", draw);
draw();
