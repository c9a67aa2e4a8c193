// What the Caption tab's own controls do in the browser. Gradio runs it once for each gr.HTML of the tab: `element` is
// its element, which stays while what is in it is drawn anew, and `trigger` tells Python of an event.

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// The chosen word is shown wherever there is something of it.
const chosen = () =>
  (document.querySelector("#sentence input:checked") ?? document.querySelector("#sentence input[checked]"))?.value;
const show = word => document.querySelectorAll("#caption-tab [data-of]").forEach(
  part => part.classList.toggle("shown", part.dataset.of === word));
// In milliseconds: on its way to a word's alternatives a pointer crosses other words.
const rest = 100;

if (element.closest("#sentence")) {
  element.setAttribute("aria-live", "polite");
  element.addEventListener("change", () => show(chosen()));
  let resting;
  element.addEventListener("pointerover", event => {
    clearTimeout(resting);
    const word = event.pointerType === "mouse" && event.target.closest(".word")?.querySelector("input");
    if (word) resting = setTimeout(() => { word.checked = true; show(word.value); }, rest);
  });
  element.addEventListener("pointerleave", () => clearTimeout(resting));
  // What is drawn anew shows its own first word, whatever is chosen in the sentence.
  new MutationObserver(() => show(chosen())).observe(element.closest("#caption-tab"), {childList: true, subtree: true});
  // Gradio pastes by its button only.
  document.addEventListener("paste", event => {
    // Spreadsheets copy text as a picture too: whoever writes means the text.
    if (event.target.matches(":read-write") && event.clipboardData.types.includes("text/plain")) return;
    const picture = [...event.clipboardData.files].find(file => file.type.startsWith("image/"));
    const input = document.querySelector("#picture input[type=file]");
    if (!picture || !input || !element.offsetParent) return;
    const files = new DataTransfer();
    files.items.add(picture);
    input.files = files.files;
    input.dispatchEvent(new Event("change"));
    event.preventDefault();
  });
}

element.addEventListener("click", async event => {
  const control = event.target.closest("[data-copy], [data-trigger], [data-beginning]");
  if (!control) return;
  const {copy, told, trigger: name, index, beginning} = control.dataset;
  if (copy !== undefined) {
    const status = control.closest(".takes").querySelector("[role=status]");
    status.textContent = "";
    // Browsers have no clipboard for pages that other machines serve unencrypted.
    const done = navigator.clipboard?.writeText(copy) ?? Promise.reject();
    status.textContent = await done.then(() => told, () => `Your browser allows no copying. Select it here: ${copy}`);
  } else if (beginning !== undefined) {
    event.preventDefault();
    trigger("click", {beginning});
    document.getElementById("answer").scrollIntoView({behavior: still() ? "auto" : "smooth"});
  } else {
    trigger(name, {index: Number(index)});
  }
});
