// Shows what a new claim may be paid while it is filled in. The server computes it; without this
// script, the button "recalculate" does the same. Files are hashed here, and stay in the browser;
// that of an objection too.
const form = document.getElementById("claim");
const MOST = 6000; // characters of a URL that any server takes

let waiting = 0;
let asked = 0;
function ask() {
  if (!form.dataset.figures) return;
  clearTimeout(waiting);
  waiting = setTimeout(fetchFigures, 250);
}

async function fetchFigures() {
  const filled = [...form.querySelectorAll("[data-live]")].filter((each) => each.value);
  const query = new URLSearchParams(filled.map((each) => [each.name, each.value]));
  const part = document.querySelector('[data-part="payable"]');
  if (String(query).length > MOST) return (part.querySelector("h2").textContent = form.dataset.long);
  const mine = ++asked;
  const answer = await fetch(`${form.dataset.figures}?part=live&${query}`).catch(() => null);
  if (!answer?.ok || mine !== asked) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector('[data-part="payable"]');
  if (fresh) part.replaceWith(document.adoptNode(fresh));
}
form.addEventListener("input", ask);

// Beside each field of a SHA-256 stands one for its file.
for (const field of form.querySelectorAll("[name$=sha256], [name=delivery]")) {
  if (!window.crypto?.subtle) break;
  const label = document.createElement("label");
  const file = document.createElement("input");
  file.type = "file";
  label.append(form.dataset.file, " ", file);
  file.addEventListener("change", async () => {
    if (!file.files[0]) return;
    const digest = await crypto.subtle.digest("SHA-256", await file.files[0].arrayBuffer());
    field.value = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    ask();
  });
  field.after(label);
}
