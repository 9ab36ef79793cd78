// What is shown before the first connection: why, and what to do about it.

import { button, fill, h, icon } from "../dom.js";
import { credentials } from "../credentials.js";
import { confirm } from "./dialog.js";

/** Fill the main part with what the connection needs. */
export function welcome(view, app) {
  const { state, problem } = app.gateway;
  if (state === "refused" && ["token", "password"].includes(problem.kind)) return signIn(view, app, problem);
  const [picture, title, text, ...actions] = situation(app, state, problem || {});
  fill(view, h("section.welcome", h("div.empty-art", icon(picture)), h("h1", { tabindex: "-1" }, title), text, h("div.row.wrap.center", actions)));
}

function situation(app, state, problem) {
  const again = button("Try again", () => app.gateway.connect(), { kind: "primary", picture: "refresh" });
  switch (state) {
    case "pairing":
      return ["devices", "This browser waits for approval", [
        h("p.muted", "Somebody who is signed in already has to let it in: on the page Devices there, or in a terminal on the gateway's machine."),
        problem.requestId && h("p.small", "Request ", h("code", problem.requestId)),
        h("p.small.muted", "This page goes on by itself as soon as that has happened."),
      ], again];
    case "waiting":
      return ["alert", "The gateway does not answer", [
        h("p.muted", problem.message || ""),
        h("p.small.muted", "Is it running, and does this page come from it? Start it with ", h("code", "rustyclaw gateway"), ". We keep trying."),
      ], again];
    case "restarting":
      return ["refresh", "The gateway restarts", h("p.muted", "It should be back in a few seconds."), again];
    case "refused":
      if (problem.kind === "locked") return ["shield", "Too many failed attempts", h("p.muted", "The gateway has locked this address for some minutes. Try again later."), again];
      if (problem.kind === "identity") return ["key", "This browser cannot identify itself", h("p.muted", problem.message)];
      return ["alert", "The gateway refused this page", h("p.muted", problem.message), again];
    default:
      return ["life", "Connecting", h("p.muted", "One moment.")];
  }
}

function signIn(view, app, problem) {
  const isPassword = problem.kind === "password";
  const word = isPassword ? "password" : "access token";
  const input = h("input.input", { id: "secret", type: "password", autocomplete: isPassword ? "current-password" : "off", spellcheck: "false", required: true, "aria-describedby": "secret-hint secret-error", "aria-invalid": problem.wrong ? "true" : undefined });
  const show = h("input", { type: "checkbox", onchange: () => (input.type = show.checked ? "text" : "password") });
  const remember = h("input", { type: "checkbox", checked: credentials.remember });
  const submit = (event) => {
    event.preventDefault();
    if (!input.value.trim()) return input.focus();
    credentials.remember = remember.checked;
    if (isPassword) credentials.password = input.value;
    else credentials.shared = input.value.trim();
    app.gateway.connect();
  };
  fill(view, h("section.welcome", h("div.empty-art", icon("key")), h("h1", { tabindex: "-1" }, "Sign in to the gateway"), h("form.card.sign-in", { onsubmit: submit },
    h("div.field", h("label", { htmlFor: "secret" }, isPassword ? "Password" : "Access token"), input,
      h("p.error", { id: "secret-error", role: "alert" }, problem.wrong && `That ${word} is not right.`),
      h("p.hint", { id: "secret-hint" }, isPassword ? "The one set as hooks.server.auth.password." : ["The gateway prints it when it starts, in the line ", h("code", "Control UI"), "."])),
    h("label.check", show, `Show the ${word}`),
    h("label.check", remember, h("span", "Remember this browser", h("span.hint.muted", " – keeps a token of its own, which you can revoke under Devices"))),
    button("Sign in", () => {}, { kind: "primary", type: "submit" }))));
  input.focus();
}

/** Ask whether a token that came in a link is to be used. */
export async function offerToken(token, app) {
  const yes = await confirm({
    title: "Use the access token from this link?",
    text: `It signs this browser in to the gateway at ${location.host}. Say yes only if the link is the one that your own gateway has printed.`,
    yes: "Use it",
    picture: "key",
    more: h("p.small.muted", "The token has been removed from the address bar. It is kept until you close this tab."),
  });
  if (yes) {
    credentials.device = "";
    credentials.shared = token;
  }
  app.gateway.connect();
}
