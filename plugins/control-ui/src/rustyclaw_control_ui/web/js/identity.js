// This browser's device key: Ed25519, made here, kept in IndexedDB, and never readable:
// the private key is not extractable, so not even this page can copy it.

const DATABASE = "rustyclaw";
const STORE = "keys";

export class NoIdentity extends Error {}

/** Return {id, publicKey, sign}, made on the first visit. */
export async function identity() {
  if (!globalThis.isSecureContext || !globalThis.crypto?.subtle) {
    throw new NoIdentity("Browsers give a page a device key only over HTTPS or on localhost. Open this page through https://, through an SSH tunnel to localhost, or give the gateway a certificate (hooks.server.tls).");
  }
  let pair = await stored();
  if (!pair) {
    try {
      pair = await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
    } catch {
      throw new NoIdentity("This browser knows no Ed25519 keys, which the gateway needs to recognise it. Please use a current Chrome, Edge, Firefox or Safari.");
    }
    pair = await store(pair);
  }
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", raw));
  return {
    id: Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    publicKey: base64url(raw),
    sign: async (text) => base64url(new Uint8Array(await crypto.subtle.sign({ name: "Ed25519" }, pair.privateKey, new TextEncoder().encode(text)))),
  };
}

export function base64url(data) {
  return btoa(String.fromCharCode(...data)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function within(mode, work) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

async function stored() {
  try {
    return await within("readonly", (keys) => keys.get("device"));
  } catch {
    return undefined; // a private window may forbid it: the key then lives with the page
  }
}

/** Keep a key unless another tab was faster; return the one that counts. */
async function store(pair) {
  try {
    await within("readwrite", (keys) => keys.add(pair, "device"));
    return pair;
  } catch {
    return (await stored()) || pair;
  }
}
