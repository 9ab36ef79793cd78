// Where a message is written: text, attachments, send and stop.

import { button, fill, h, icon, iconButton } from "../dom.js";
import { bytes } from "../format.js";
import { toast } from "./dialog.js";

const LARGEST = 5_000_000;
const MOST = 8;

/** Return the composer's element, with `focus`, `set`, `running` and `ready`. */
export function composer({ send, stop, draft }) {
  const text = h("textarea.composer-text", { id: "message", rows: "1", placeholder: "Write a message", "aria-label": "Message", enterkeyhint: "send", value: draft.read() });
  const files = [];
  const shown = h("div.composer-files");
  const picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files to attach", onchange: () => {
    take(picker.files);
    picker.value = "";
  } });
  const sendButton = button("Send", () => submit(), { kind: "primary", picture: "send", type: "submit", id: "send" });
  const stopButton = button("Stop", () => stop(), { picture: "stop", kind: "danger", id: "stop", hidden: true });

  async function take(list) {
    for (const file of list) {
      if (files.length >= MOST) return toast(`At most ${MOST} files go with one message.`, "bad");
      if (file.size > LARGEST) toast(`${file.name} is larger than ${bytes(LARGEST)}.`, "bad");
      else files.push(await read(file));
    }
    showFiles();
  }

  function showFiles() {
    fill(shown, files.map((file, n) => h("span.media", file.url ? h("img", { src: file.url, alt: "" }) : icon("file"), h("span.cut", file.fileName), iconButton("close", `Remove ${file.fileName}`, () => {
      files.splice(n, 1);
      showFiles();
      text.focus();
    }))));
  }

  function grow() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight + 2, innerHeight * 0.4)}px`;
  }

  function submit() {
    const message = text.value.trim();
    if (!message && !files.length) return text.focus();
    if (sendButton.disabled) return undefined;
    send(message, files.splice(0));
    text.value = "";
    draft.write("");
    showFiles();
    grow();
    return text.focus();
  }

  text.addEventListener("input", () => {
    draft.write(text.value);
    grow();
  });
  text.addEventListener("keydown", (event) => {
    const touch = matchMedia("(pointer: coarse)").matches;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !touch) {
      event.preventDefault();
      submit();
    }
  });
  text.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      take(event.clipboardData.files);
    }
  });
  const element = h("form.composer", { onsubmit: (event) => {
    event.preventDefault();
  } }, shown, h("div.composer-row", iconButton("clip", "Attach files", () => picker.click()), picker, text, stopButton, sendButton),
    h("p.composer-hint", h("kbd", "Enter"), " sends, ", h("kbd", "Shift Enter"), " begins a new line, ", h("code", "/help"), " lists commands"));
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  requestAnimationFrame(grow);
  return {
    element,
    focus: () => text.focus(),
    set: (value) => {
      text.value = value;
      grow();
      text.focus();
    },
    running: (yes) => (stopButton.hidden = !yes),
    ready: (yes) => (sendButton.disabled = !yes),
  };
}

/** Return a file as `chat.send` wants it; pictures also as something to look at. */
async function read(file) {
  const content = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  const mimeType = file.type || "application/octet-stream";
  const isPicture = ["image/png", "image/jpeg", "image/gif", "image/webp"].includes(mimeType);
  return { fileName: file.name || "pasted", mimeType, content, size: file.size, url: isPicture ? URL.createObjectURL(file) : "" };
}
