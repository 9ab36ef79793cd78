"""How the signatures of Gemini's thoughts are kept in a transcript.

Gemini signs parts of an answer: calls, texts, thoughts. Each signature must come back
on the part on which it came, to the model that made it. A call has a place of its own
for it; that of a text or of a thought is kept in a thinking block. Source: "Thought
signatures" of the Gemini API's documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

#: The signed part: a function call, the text just before, a part without text, or a
#: thought, whose text the block holds.
Part = Literal["call", "text", "end", "thought"]

#: Documented stand-in for a signature that does not exist.
SKIP = "skip_thought_signature_validator"
_MARK = "google:"
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature, and where it belongs.

    :param model: Who made it; another one may refuse it.
    """

    part: Part
    model: str
    opaque: str

    def signature(self) -> str:
        """Return it as a text."""
        return f"{_MARK}{self.part}:{self.model}:{self.opaque}"

    @classmethod
    def of(cls, signature: str | None, model: str) -> Signed | None:
        """Return what a text holds; ``None``: not a signature of this model."""
        given = signature or ""
        part, _, rest = given.removeprefix(_MARK).partition(":")
        maker, _, opaque = rest.rpartition(":")
        if not given.startswith(_MARK) or maker != model:
            return None
        if part not in get_args(Part) or not _BASE64.fullmatch(opaque):
            return None
        return cls(part=cast("Part", part), model=model, opaque=opaque)
