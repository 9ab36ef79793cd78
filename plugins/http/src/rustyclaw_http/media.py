"""Attachments on their way to a model: checked, and encoded as vendors want them."""

from __future__ import annotations

from base64 import b64encode

from rustyclaw import Audio, File, Image

#: The largest picture that vendors take, before base64 (5 MiB with it: Anthropic).
MAX_IMAGE_BYTES = 5 * 1024 * 1024 * 3 // 4
#: The longest text file that is shown to a model, in characters.
MAX_TEXT_CHARS = 200_000
#: What a model that takes no pictures is told instead.
BLIND = "[a picture was left out: the model cannot see]"

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_TEXT_TYPES = {
    "application/json", "application/xml", "application/yaml", "application/x-yaml",
    "application/toml", "application/javascript", "application/x-sh", "application/sql",
}  # fmt: skip


def image_type(data: bytes) -> str | None:
    """Return the media type of a picture, by its bytes; ``None``: nobody takes it."""
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def is_pdf(file: File) -> bool:
    """Return whether a file is a PDF, by its bytes."""
    return file.data.startswith(b"%PDF-")


def base64_of(data: bytes) -> str:
    """Return bytes as base64 text."""
    return b64encode(data).decode("ascii")


def data_url(data: bytes, media_type: str) -> str:
    """Return bytes as a ``data:`` URL."""
    return f"data:{media_type};base64,{base64_of(data)}"


def problem_of(image: Image) -> str | None:
    """Return why no vendor takes a picture, as a note for the model, or ``None``."""
    if image_type(image.data) is None:
        return "[a picture was left out: it is neither PNG, JPEG, GIF nor WebP]"
    if len(image.data) > MAX_IMAGE_BYTES:
        size = len(image.data) / 1024 / 1024
        return f"[a picture was left out: {size:.1f} MiB is too large]"
    return None


def text_of(attachment: Audio | File) -> str | None:
    """Return an attachment as text, or ``None`` if it is none.

    Text files are shown with their name, recordings by what was said in them.
    """
    if isinstance(attachment, Audio):
        said = attachment.transcript
        return None if said is None else f"[recording, transcribed]\n{said}"
    kind = attachment.media_type.partition(";")[0].strip().lower()
    if not (kind.startswith("text/") or kind in _TEXT_TYPES):
        return None
    try:
        text = attachment.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    cut = "\n[the rest was cut off]" if len(text) > MAX_TEXT_CHARS else ""
    return f"[file {attachment.name!r}]\n{text[:MAX_TEXT_CHARS]}{cut}"


def note_of(attachment: Audio | File) -> str:
    """Return what a model is told of an attachment that it cannot be shown."""
    if isinstance(attachment, Audio):
        return f"[a recording ({attachment.media_type}) that nobody transcribed]"
    return f"[file {attachment.name!r} ({attachment.media_type}) cannot be shown]"
