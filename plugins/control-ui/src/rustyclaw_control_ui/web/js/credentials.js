// What this browser shows to the gateway.
//
// The shared token lives in this tab only. "Remember" keeps the token that the gateway
// made for this very device, which is worthless without the device key and can be
// revoked on the page of devices; the shared token is never written to disk.

const scope = new URL("../../../", import.meta.url).pathname; // one origin may hold several gateways
const name = (what) => `rustyclaw.${what}@${scope}`;

function read(area, what) {
  try {
    return area().getItem(name(what)) || "";
  } catch {
    return "";
  }
}

function write(area, what, value) {
  try {
    if (value) area().setItem(name(what), value);
    else area().removeItem(name(what));
  } catch {
    // Storage may be forbidden; then it is asked for again.
  }
}

const tab = () => sessionStorage;
const browser = () => localStorage;

export const credentials = {
  get shared() { return read(tab, "token"); },
  set shared(value) { write(tab, "token", value); },
  get password() { return read(tab, "password"); },
  set password(value) { write(tab, "password", value); },
  get remember() { return read(browser, "remember") === "yes"; },
  set remember(on) {
    write(browser, "remember", on ? "yes" : "");
    const token = this.device;
    write(browser, "device-token", on ? token : "");
    write(tab, "device-token", on ? "" : token);
  },
  get device() { return read(browser, "device-token") || read(tab, "device-token"); },
  set device(value) {
    write(this.remember ? browser : tab, "device-token", value);
    if (!value) write(this.remember ? tab : browser, "device-token", "");
  },
  forget() {
    this.shared = this.password = this.device = "";
    this.remember = false;
  },
};

/**
 * Take a token out of the address bar at once, so that it is neither copied nor kept in
 * the history. It is used only if the person says so. Nothing else in an address is
 * ever believed, least of all the address of a gateway.
 */
export function tokenFromLink() {
  const fragment = location.hash.slice(1);
  if (fragment.startsWith("/")) return "";
  const given = new URLSearchParams(fragment);
  if (!given.has("token")) return "";
  history.replaceState(null, "", `${location.pathname}#/`);
  return (given.get("token") || "").trim().slice(0, 4096);
}
