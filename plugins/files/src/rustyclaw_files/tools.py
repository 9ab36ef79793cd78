"""The four tools; each opens the workspace anew and works in a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import anyio
from pydantic import BaseModel, Field
from rustyclaw import Tool, ToolContext, ToolError, ToolResult, Toolset

from rustyclaw_files.config import FilesConfig
from rustyclaw_files.failures import explain
from rustyclaw_files.listing import list_folder
from rustyclaw_files.names import shown
from rustyclaw_files.reading import show_file
from rustyclaw_files.root import Root
from rustyclaw_files.writing import check_replaceable, edited, replace_file


class _FileTool(Tool):
    """What the four have in common."""

    Config = FilesConfig
    config: FilesConfig
    timeout_seconds = 30.0

    async def in_root(
        self, context: ToolContext, path: str, work: Callable[[Root], ToolResult]
    ) -> ToolResult:
        """Run blocking work on the workspace in a thread.

        A read is left alone when it is cancelled; it is bounded and changes
        nothing. A write is waited for, so that nothing changes afterwards.

        :raises ToolError: The path is off limits, or the disk refused.
        """
        root = Root(
            context.workspace,
            home=context.home,
            agent_dir=context.agent_dir,
            restrict=self.config.restrict_to_workspace,
            allow_hard_links=self.config.allow_hard_links,
            protected=self.config.protected,
        )

        def run() -> ToolResult:
            try:
                with root:
                    return work(root)
            except OSError as exc:
                raise explain(exc, path) from exc

        return await anyio.to_thread.run_sync(
            run, abandon_on_cancel="write" not in self.effects
        )


class ReadFile(_FileTool):
    """Read a text file as numbered lines, or look at a PNG, JPEG, GIF or WebP."""

    name = "read_file"

    class Params(BaseModel):
        """The file and the part of it."""

        path: str = Field(description="relative to the workspace")
        offset: int = Field(0, ge=0, description="first line, counted from 0")
        limit: int = Field(2000, ge=1, description="most lines")

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Return the lines that fit and where to continue."""

        def work(root: Root) -> ToolResult:
            with (
                root.place(params.path) as place,
                root.open_file(place, params.path) as stream,
            ):
                return show_file(
                    stream,
                    params.path,
                    offset=params.offset,
                    limit=min(params.limit, self.config.max_read_lines),
                    max_bytes=self.config.max_read_bytes,
                )

        return await self.in_root(context, params.path, work)


class WriteFile(_FileTool):
    """Create a file or replace its whole content."""

    name = "write_file"
    effects = frozenset({"write"})

    class Params(BaseModel):
        """The file and its content."""

        path: str
        content: str
        create_dirs: bool = Field(False, description="create missing folders")

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Write all of the content or nothing."""
        data = params.content.encode()
        check_size(data, self.config.max_write_bytes)

        def work(root: Root) -> ToolResult:
            try:
                return write(root)
            except FileNotFoundError as exc:
                if params.create_dirs:
                    raise
                raise ToolError(
                    f"the folder of {params.path!r} was not found; set create_dirs "
                    "to create it"
                ) from exc

        def write(root: Root) -> ToolResult:
            with root.place(
                params.path, writing=True, create_dirs=params.create_dirs
            ) as place:
                check_replaceable(place, params.path)
                replace_file(place, data, params.path)
                done = "created" if place.status is None else "replaced"
                return ToolResult(
                    text=f"{done} {params.path!r}: {len(data)} bytes written",
                    details={"path": shown(place.path), "bytes": len(data)},
                )

        return await self.in_root(context, params.path, work)


class EditFile(_FileTool):
    """Replace a text that occurs exactly once in a file."""

    name = "edit_file"
    effects = frozenset({"write"})

    class Params(BaseModel):
        """The file and the change."""

        path: str
        old_text: str = Field(description="exact, without line numbers")
        new_text: str

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Make the change if it is unambiguous."""

        def work(root: Root) -> ToolResult:
            limit = self.config.max_write_bytes
            with root.place(params.path, writing=True) as place:
                check_replaceable(place, params.path)
                with root.open_file(place, params.path) as stream:
                    status = os.fstat(stream.fileno())
                    old = stream.read(limit + 1)
                check_size(old, limit)
                if b"\0" in old:
                    raise ToolError(f"{params.path!r} is binary and not edited")
                new = edited(old, params.old_text, params.new_text, params.path)
                check_size(new, limit)
                replace_file(place, new, params.path, edits=status)
                return ToolResult(
                    text=f"edited {params.path!r}: {len(new)} bytes now",
                    details={"path": shown(place.path), "bytes": len(new)},
                )

        return await self.in_root(context, params.path, work)


class FileList(_FileTool):
    """List a folder: [dir] and [file] lines with sizes."""

    name = "file_list"

    class Params(BaseModel):
        """The folder and the filter."""

        path: str = "."
        pattern: str | None = Field(None, description="glob, e.g. *.py or src/**/*.py")
        recursive: bool = False
        limit: int = Field(200, ge=1)

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Return the entries by name, as many as may be shown."""

        def work(root: Root) -> ToolResult:
            return list_folder(
                root,
                params.path,
                pattern=params.pattern,
                recursive=params.recursive,
                limit=min(params.limit, self.config.list_limit),
            )

        return await self.in_root(context, params.path, work)


class FilesTools(Toolset):
    """The tools that work on the files of an agent's workspace."""

    Config = FilesConfig

    def tools(self) -> Sequence[Tool]:
        """Return the four tools."""
        return [tool(self.config) for tool in (ReadFile, WriteFile, EditFile, FileList)]


def check_size(data: bytes, limit: int) -> None:
    """Refuse files over the limit.

    :raises ToolError: Saying how much fits.
    """
    if len(data) > limit:
        raise ToolError(
            f"files over {limit} bytes are not written or edited; split the file, or "
            "ask the operator (`tools.files.max_write_bytes`)"
        )
