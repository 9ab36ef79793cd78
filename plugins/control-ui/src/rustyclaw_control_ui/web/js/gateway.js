// A client of the gateway protocol, versions 3 and 4: one socket, requests with
// answers, events, and an unhurried way back after a loss.

import { credentials } from "./credentials.js";
import { identity, NoIdentity } from "./identity.js";

const CLIENT = "rustyclaw-control-ui";
const SCOPES = ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];
const CAPS = ["tool-events", "tool-results", "hook-events"];
const FIRST_WAIT = 800;
const GROWTH = 1.7;
const LONGEST_WAIT = 15_000;
const PAIRING_WAIT = 4_000;

export class RpcError extends Error {
  constructor(message, code = "UNAVAILABLE", details = {}) {
    super(message);
    this.code = code;
    this.details = details || {};
  }
}

/**
 * The states: `connecting`, `online`, `waiting` (tries again soon), `restarting`,
 * `pairing` (an operator must approve this browser), `refused` (needs a credential or
 * another remedy; `problem` says which).
 */
export class Gateway {
  constructor(url) {
    this.url = url;
    this.state = "connecting";
    this.problem = null;
    this.hello = null;
    this.retryAt = 0;
    this._listeners = new Map();
    this._pending = new Map();
    this._next = 1;
    this._wait = FIRST_WAIT;
    this._instance = crypto.randomUUID?.() || String(Math.random()).slice(2);
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.retry());
  }

  // --- Events -----------------------------------------------------------------------

  /** Listen; returns what ends it. `*` hears of all events of the gateway. */
  on(name, listener) {
    const all = this._listeners.get(name) || new Set();
    this._listeners.set(name, all.add(listener));
    return () => all.delete(listener);
  }

  _emit(name, value, ...more) {
    for (const listener of [...(this._listeners.get(name) || [])]) {
      try {
        listener(value, ...more);
      } catch (error) {
        console.error(error);
      }
    }
  }

  _become(state, problem = null) {
    this.state = state;
    this.problem = problem;
    this._emit("state", state);
  }

  // --- Requests ---------------------------------------------------------------------

  get online() {
    return this.state === "online";
  }

  /** Whether the gateway offers a method; what is not offered is not shown. */
  has(method) {
    return Boolean(this.hello?.features?.methods?.includes(method));
  }

  /** Call a method; resolves with its payload, rejects with an RpcError. */
  request(method, params = {}, { timeout = 15_000 } = {}) {
    if (!this.online) return Promise.reject(new RpcError("not connected to the gateway"));
    return this._request(method, params, timeout);
  }

  _request(method, params, timeout) {
    const id = `ui-${this._next++}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this._pending.delete(id);
        this._emit("busy", this._pending.size);
        reject(new RpcError(`${method}: no answer within ${timeout / 1000} s`));
      }, timeout);
      this._pending.set(id, { resolve, reject, timer });
      this._emit("busy", this._pending.size);
      this._socket.send(JSON.stringify({ type: "req", id, method, params }));
    });
  }

  _answered({ id, ok, payload, error }) {
    const waiting = this._pending.get(id);
    if (!waiting) return;
    this._pending.delete(id);
    clearTimeout(waiting.timer);
    this._emit("busy", this._pending.size);
    if (ok) waiting.resolve(payload);
    else waiting.reject(new RpcError(error?.message || "the gateway refused", error?.code, error?.details));
  }

  // --- The connection ---------------------------------------------------------------

  /** Connect now; safe to call at any time. */
  connect() {
    clearTimeout(this._timer);
    this._drop();
    if (this.state !== "restarting") this._become("connecting");
    const socket = new WebSocket(this.url);
    this._socket = socket;
    socket.onmessage = ({ data }) => socket === this._socket && this._hear(data);
    socket.onclose = ({ code, reason }) => socket === this._socket && this._lost(code, reason);
  }

  /** Try at once instead of waiting on. */
  retry() {
    if (this.state === "waiting" || this.state === "restarting" || this.state === "pairing") this.connect();
  }

  _drop() {
    const old = this._socket;
    this._socket = null;
    clearInterval(this._watch);
    for (const { reject, timer } of this._pending.values()) {
      clearTimeout(timer);
      reject(new RpcError("the connection was lost"));
    }
    this._pending.clear();
    this._emit("busy", 0);
    if (old && old.readyState < 2) old.close(1000);
  }

  _hear(data) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    this._heard = performance.now();
    if (frame.type === "res") this._answered(frame);
    else if (frame.event === "connect.challenge") this._introduce(frame.payload.nonce);
    else if (frame.type === "event") this._event(frame);
  }

  _event({ event, payload, seq }) {
    if (Number.isInteger(seq)) {
      const missed = this._seq && seq > this._seq + 1;
      this._seq = seq;
      if (missed) this._emit("gap");
    }
    if (event === "shutdown" && payload?.restartExpectedMs) this._expected = true;
    this._emit(event, payload);
    this._emit("*", event, payload);
  }

  async _introduce(nonce) {
    const socket = this._socket;
    let me, used;
    try {
      me = await identity();
      used = this._chosen();
      const params = await this._claim(me, nonce, used);
      if (socket !== this._socket) return;
      const hello = await this._request("connect", params, 15_000);
      this._welcome(hello);
    } catch (error) {
      if (socket !== this._socket) return;
      if (error instanceof NoIdentity) this._refuse({ kind: "identity", message: error.message });
      else this._rejected(error, used || {});
    }
  }

  /** The device's own token first; the shared one if there is none or it was refused. */
  _chosen() {
    if (credentials.device) return { deviceToken: credentials.device };
    if (credentials.shared) return { token: credentials.shared };
    if (credentials.password) return { password: credentials.password };
    return {};
  }

  async _claim(me, nonce, auth) {
    const platform = navigator.userAgentData?.platform || navigator.platform || "web";
    const client = { id: CLIENT, mode: "ui", version: document.documentElement.dataset.version || "dev", platform, displayName: browserName(), instanceId: this._instance };
    const signedAt = Date.now();
    const parts = ["v3", me.id, CLIENT, client.mode, "operator", SCOPES.join(","), signedAt, auth.token || auth.deviceToken || "", nonce, platform.trim().toLowerCase(), ""];
    const device = { id: me.id, publicKey: me.publicKey, signedAt, nonce, signature: await me.sign(parts.join("|")) };
    return { minProtocol: 3, maxProtocol: 4, client, caps: CAPS, role: "operator", scopes: SCOPES, device, auth, locale: navigator.language };
  }

  _welcome(hello) {
    this.hello = hello;
    this.connectedAt = Date.now();
    this.deviceId = hello.auth?.deviceId;
    if (hello.auth?.deviceToken) credentials.device = hello.auth.deviceToken;
    this._wait = FIRST_WAIT;
    this._seq = 0;
    this._expected = false;
    const patience = 2 * (hello.policy?.tickIntervalMs || 30_000);
    this._watch = setInterval(() => {
      if (performance.now() - this._heard > patience) this._socket?.close(4000, "tick timeout");
    }, patience / 4);
    this._become("online");
  }

  _rejected(error, used) {
    const code = error.details?.code || "";
    if (code === "PAIRING_REQUIRED" || error.code === "NOT_PAIRED") {
      this._refuse({ kind: "pairing", message: error.message, requestId: error.details?.requestId }, "pairing");
      this._later(PAIRING_WAIT);
      return;
    }
    if (used.deviceToken) { // revoked, rotated, or of another gateway
      credentials.device = "";
      this.connect();
      return;
    }
    if (!/^AUTH_|unauthorized/.test(code || error.message)) {
      this._refuse({ kind: "other", message: error.message });
      if (error.code === "UNAVAILABLE") this._again();
      return;
    }
    const kind = code.includes("PASSWORD") ? "password" : code === "AUTH_RATE_LIMITED" ? "locked" : "token";
    if (used.token) credentials.shared = "";
    if (used.password) credentials.password = "";
    const shown = Boolean(used.token || used.password);
    this._refuse({ kind, message: error.message, wrong: shown && kind !== "locked" });
  }

  _refuse(problem, state = "refused") {
    this._drop();
    this._become(state, problem);
  }

  _lost(code, reason) {
    if (this.state === "refused" || this.state === "pairing") return;
    const wasOnline = this.online;
    this._drop();
    if (code === 1008 && /gateway token changed/.test(reason)) credentials.shared = "";
    else if (code === 1008 && /^device .*(revoked|rotated|removed)/.test(reason)) credentials.device = "";
    if (code === 1012 || this._expected) this._become("restarting");
    else if (this.state !== "restarting" || wasOnline) this._become("waiting", { message: reason || "the gateway cannot be reached" });
    this._again();
  }

  _again() {
    const wait = this._wait * (0.5 + Math.random() / 2);
    this._wait = Math.min(this._wait * GROWTH, LONGEST_WAIT);
    this._later(wait);
  }

  _later(wait) {
    clearTimeout(this._timer);
    this.retryAt = Date.now() + wait;
    this._timer = setTimeout(() => this.connect(), wait);
    this._emit("retry", this.retryAt);
  }

  /** Forget who we are here, and ask again. */
  signOut() {
    credentials.forget();
    this.hello = null;
    this._refuse({ kind: "token", message: "You have signed out." });
  }
}

function browserName() {
  const agent = navigator.userAgent;
  const [, name] = [/Edg\//, /OPR\//, /Firefox\//, /Chrome\//, /Safari\//].map((p, i) => [p.test(agent), ["Edge", "Opera", "Firefox", "Chrome", "Safari"][i]]).find(([found]) => found) || [true, "Browser"];
  return `${name} on ${navigator.userAgentData?.platform || navigator.platform || "the web"}`;
}
