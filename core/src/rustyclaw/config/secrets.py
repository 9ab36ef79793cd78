"""Secrets: what they look like, and how they are kept out of every output."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

#: The type of a secret field in a plugin's Config; it never prints its value.
Secret = SecretStr

PLACEHOLDER = "***"
#: Shorter values are not searched for: they would blank out ordinary words.
MIN_LENGTH = 6
_KEY = re.compile(
    r"(token|secrets?|passw(or)?ds?|passphrase|credentials?|authorization|cookies?"
    r"|(api|private|access|secret|signing|encryption|auth)[_-]?keys?"
    r"|(^|(api|access|auth|bot)[_-]?)tokens)([_-]?(value|pem|json|hash|base64))?$",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[\w-]{16,}|x(?:ox[a-z]|app)-[\w-]{8,}|gh[pousr]_\w{16,}"
    r"|github_pat_\w{16,}|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w.-]{16,})"
    r"|(?<!\d)\d{6,12}:[\w-]{30,}"  # a Telegram bot, also within its URL
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?"
    r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)",
    re.ASCII,
)
_LABELLED = re.compile(
    r"(?:(\b(?:bearer|basic)\s{1,4})[\w.~+/=-]{8,}|(://[^\s/:@]{0,64}:)[^\s/@]{1,256}(?=@)"
    r"|([?&][\w-]{0,32}(?:key|token|secret|password|signature)=)[^&\s\"'<>#]+)",
    re.ASCII | re.IGNORECASE,
)


def looks_secret(key: object) -> bool:
    """Return whether what stands under a key of this name must not be shown."""
    return bool(_KEY.search(str(key)))


class Redactor:
    """Knows the secrets of this process and removes them from text; thread-safe."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def add(self, value: str) -> None:
        """Remember a secret, also as it looks in URLs and in JSON."""
        url = quote(value, safe="", errors="surrogatepass")
        forms = {value, value.strip(), url, json.dumps(value)[1:-1]}
        self._secrets.update(form for form in forms if len(form) >= MIN_LENGTH)

    def learn(self, value: Any, env: Mapping[str, str], secret: bool = False) -> None:
        """Remember the secrets in a config value: by type, by key, by ``*_env``."""
        if isinstance(value, SecretStr):
            self.add(value.get_secret_value())
        elif isinstance(value, Mapping | BaseModel):
            # not `dict(value)`, which a model with a field `keys` would not survive
            pairs = value.items() if isinstance(value, Mapping) else iter(value)
            for key, item in pairs:
                if str(key).endswith("_env") and isinstance(item, str):
                    self.add(env.get(item, ""))
                self.learn(item, env, secret or looks_secret(key))
        elif isinstance(value, list | tuple):
            for item in value:
                self.learn(item, env, secret)
        elif secret and isinstance(value, str | int | float):
            self.add(str(value))

    def scrub(self, text: str) -> str:
        """Return the text with each secret replaced by a placeholder."""
        before = None
        while before != text:  # a replacement may join two halves of another
            before = text
            for secret in sorted([*self._secrets], key=len, reverse=True):
                text = text.replace(secret, PLACEHOLDER)
            text = _TOKENS.sub(PLACEHOLDER, text)
            text = _LABELLED.sub(lambda m: f"{m[m.lastindex or 0]}{PLACEHOLDER}", text)
        return text

    def scrub_value(self, value: Any, secret: bool = False) -> Any:
        """Return a JSON-like value without secrets, whatever their depth."""
        if secret and not (value in (None, "") or isinstance(value, bool)):
            return PLACEHOLDER
        if isinstance(value, Mapping):
            return {k: self.scrub_value(v, looks_secret(k)) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.scrub_value(item) for item in value]
        return self.scrub(value) if isinstance(value, str) else value
