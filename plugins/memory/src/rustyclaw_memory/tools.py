"""The four tools; the work is done in a thread."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio
from pydantic import BaseModel, Field
from rustyclaw import Tool, ToolContext, ToolError, ToolResult, Toolset

from rustyclaw_memory.config import MemoryConfig
from rustyclaw_memory.searching import preview, terms_of
from rustyclaw_memory.store import MemoryStore

MAX_KEY_CHARS = 256
MAX_NAMESPACE_CHARS = 64
MAX_QUERY_CHARS = 1000
LIST_LIMIT = 500

T = TypeVar("T")


class _MemoryTool(Tool):
    """What the four have in common."""

    Config = MemoryConfig
    config: MemoryConfig
    timeout_seconds = 30.0

    async def with_store(
        self, context: ToolContext, work: Callable[[MemoryStore], T]
    ) -> T:
        """Run blocking work on the agent's memory in a thread.

        A search is left alone when it is cancelled; it has a deadline and changes
        nothing. A write is waited for, so that nothing changes afterwards.

        :raises ToolError: The memory cannot be used.
        """
        store = MemoryStore(
            context.agent_dir / "memory.db", max_entries=self.config.max_entries
        )
        return await anyio.to_thread.run_sync(
            work, store, abandon_on_cancel="write" not in self.effects
        )


class MemoryGet(_MemoryTool):
    """Recall what was stored under a key."""

    name = "memory_get"

    class Params(BaseModel):
        """The entry."""

        key: str
        namespace: str = "default"

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Return the value as it was stored."""
        namespace, key = namespace_of(params.namespace), key_of(params.key)
        value = await self.with_store(context, lambda store: store.get(namespace, key))
        if value is None:
            return not_found(namespace, key)
        return ToolResult(text=value, details={"found": True})


class MemorySet(_MemoryTool):
    """Remember a value under a key, across conversations; null forgets it."""

    name = "memory_set"
    effects = frozenset({"write"})

    class Params(BaseModel):
        """The entry and its new value."""

        key: str
        value: str | None = Field(description="null deletes the entry")
        namespace: str = "default"

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Store or delete; when it returns, that is on the disk."""
        namespace, key = namespace_of(params.namespace), key_of(params.key)
        value = params.value
        if value is None:
            deleted = await self.with_store(
                context, lambda store: store.delete(namespace, key)
            )
            if not deleted:
                return not_found(namespace, key)
            return ToolResult(text=f"deleted {key!r} from {namespace!r}")
        size = len(value.encode())
        if size > self.config.max_value_bytes:
            raise ToolError(
                f"the value has {size} bytes, at most {self.config.max_value_bytes} "
                "fit; split it over several keys or write a file"
            )
        is_new = await self.with_store(
            context, lambda store: store.put(namespace, key, value)
        )
        done = "stored" if is_new else "replaced"
        return ToolResult(text=f"{done} {key!r} in {namespace!r}: {size} bytes")


class MemoryList(_MemoryTool):
    """List the keys in memory."""

    name = "memory_list"

    class Params(BaseModel):
        """The namespace and the start of the keys."""

        namespace: str = "default"
        prefix: str = ""

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Return keys and sizes, or what namespaces there are instead."""
        namespace = namespace_of(params.namespace)
        prefix = unicodedata.normalize("NFC", params.prefix)
        found = await self.with_store(
            context, lambda store: store.keys(namespace, prefix)
        )
        if not found:
            others = await self.with_store(context, MemoryStore.namespaces)
            where = f"in {namespace!r}" + (f" below {prefix!r}" if prefix else "")
            text = f"no entries {where}; namespaces with entries: "
            return ToolResult(text=text + (", ".join(others) or "none"))
        lines = [f"{key} ({size} bytes)" for key, size in found[:LIST_LIMIT]]
        if len(found) > LIST_LIMIT:
            lines.append(f"[truncated: {LIST_LIMIT} of {len(found)}; use a prefix]")
        return ToolResult(text="\n".join(lines), details={"total": len(found)})


class MemorySearch(_MemoryTool):
    """Search keys and values in memory for words or parts of words."""

    name = "memory_search"

    class Params(BaseModel):
        """What to look for."""

        query: str
        namespace: str = "default"
        limit: int = Field(10, ge=1)

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Return keys with a preview of their values, best first."""
        namespace = namespace_of(params.namespace)
        if len(params.query) > MAX_QUERY_CHARS:
            raise ToolError(
                f"the query has over {MAX_QUERY_CHARS} characters; use a few words"
            )
        terms = terms_of(params.query)
        if not terms:
            raise ToolError("the query is empty; use a few words, or `memory_list`")
        limit = min(params.limit, self.config.search_limit)

        def search(store: MemoryStore) -> ToolResult:
            hits = store.search(namespace, terms, limit + 1)
            lines = [f"{key}: {preview(value, terms)}" for key, value in hits[:limit]]
            if not lines:
                lines.append(f"nothing in {namespace!r} matches {params.query!r}")
            if len(hits) > limit:
                lines.append(f"[there are more than {limit}; use more exact words]")
            keys = [key for key, _ in hits[:limit]]
            return ToolResult(text="\n".join(lines), details={"keys": keys})

        return await self.with_store(context, search)


class MemoryTools(Toolset):
    """The tools by which an agent remembers."""

    Config = MemoryConfig

    def tools(self) -> Sequence[Tool]:
        """Return the four tools."""
        return [
            tool(self.config)
            for tool in (MemoryGet, MemorySet, MemoryList, MemorySearch)
        ]


def namespace_of(text: str) -> str:
    """Return a namespace with everything but letters, digits, - and _ as ``_``.

    :raises ToolError: It is empty or too long.
    """
    namespace = re.sub(r"[^\w-]", "_", unicodedata.normalize("NFC", text))
    if not 0 < len(namespace) <= MAX_NAMESPACE_CHARS:
        raise ToolError(
            f"a namespace has 1 to {MAX_NAMESPACE_CHARS} characters; choose another"
        )
    return namespace


def key_of(text: str) -> str:
    """Return a key in the one form in which it is stored.

    :raises ToolError: It is empty, too long, or more than one line.
    """
    key = unicodedata.normalize("NFC", text)
    if not key.strip() or len(key) > MAX_KEY_CHARS:
        raise ToolError(f"a key has 1 to {MAX_KEY_CHARS} characters; choose another")
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in key):
        raise ToolError("a key has no control characters; leave them out")
    return key


def not_found(namespace: str, key: str) -> ToolResult:
    """Return what is said of a key without an entry, which is no failure."""
    return ToolResult(
        text=f"{key!r} was not found in {namespace!r}; `memory_list` shows the keys",
        details={"found": False},
    )
