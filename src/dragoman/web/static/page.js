// Makes the examples act: the address is this server's own, they can be copied, and be sent.
"use strict";

for (const place of document.querySelectorAll(".origin")) {
  place.textContent = location.origin;
}

document.querySelector("#key-form").addEventListener("submit", (event) => event.preventDefault());

// Links to types lead into a closed list.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const list = target?.closest("details");
  if (list && !list.open) {
    list.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", openTarget);
openTarget();

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Browsers allow the clipboard to secure pages only: select the text for the keyboard.
    getSelection().selectAllChildren(button.closest(".code").querySelector("pre"));
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

async function send(button, code) {
  const running = code.abort;
  if (running) {
    running.abort();
    return;
  }
  code.abort = new AbortController();
  button.textContent = "Stop";
  let result = code.querySelector(".result");
  if (!result) {
    result = document.createElement("pre");
    result.className = "result";
    result.setAttribute("aria-live", "polite");
    code.append(result);
  }
  result.textContent = "…";
  result.classList.remove("failed");
  const headers = {};
  const key = document.querySelector("#key").value.trim();
  if (key) headers.authorization = `Bearer ${key}`;
  if (code.dataset.body !== undefined) headers["content-type"] = "application/json";
  try {
    const answer = await fetch(code.dataset.path, {
      method: code.dataset.method,
      headers,
      body: code.dataset.body,
      signal: code.abort.signal,
    });
    result.classList.toggle("failed", !answer.ok);
    result.textContent = `HTTP ${answer.status}\n\n`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      result.append(piece.value);
    }
  } catch (error) {
    result.classList.add("failed");
    result.append(error.name === "AbortError" ? "\n(stopped)" : `\n${error.message}`);
  } finally {
    code.abort = undefined;
    button.textContent = "Send";
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const code = button?.closest(".code");
  if (!code) return;
  if (button.classList.contains("copy")) copy(button, code.querySelector("pre").textContent);
  if (button.classList.contains("send")) send(button, code);
});
