"""Opens the files of a workspace by descriptor, out of reach of every race.

No path text is ever checked and then handed to the kernel. Each part is looked up
in the folder that is held open, links are read and followed here, and every call
on a name refuses to follow one by itself (``O_NOFOLLOW``). Whoever swaps a folder
for a link in between gets an error, never a file from elsewhere. It is what Linux
calls ``RESOLVE_BENEATH``, for every POSIX system, except that links may be
absolute as long as they lead into the workspace.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

from rustyclaw import ToolError

from rustyclaw_files.failures import not_found
from rustyclaw_files.names import check_path, is_protected, split_path
from rustyclaw_files.place import (
    FILE,
    FOLDER,
    Place,
    check_regular,
    identity,
    identity_at,
    open_below,
)

#: Names on the way to a place, those in links included: links may go in circles.
MAX_PARTS = 512


class Root:
    """A workspace that is held open; use it in a ``with`` block.

    :param workspace: Created if it is missing.
    :param home: The gateway's state; of it, only the workspace can be reached.
    :param agent_dir: State of the agent, wherever it lies.
    :param restrict: Refuse what is outside the workspace.
    :param allow_hard_links: With ``restrict``, open files of several names, too.
    :param protected: Names that nothing is written to or below.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        home: Path,
        agent_dir: Path,
        restrict: bool = True,
        allow_hard_links: bool = False,
        protected: Iterable[str] = (),
    ) -> None:
        self.restrict = restrict
        self._workspace = workspace
        self._home = home
        self._agent_dir = agent_dir
        self._allow_hard_links = allow_hard_links
        self._protected = tuple(protected)
        self._held = ExitStack()
        self._slash: int | None = None

    def __enter__(self) -> Self:
        """Open the workspace.

        :raises ToolError: It is the gateway's own state folder.
        """
        self._workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.real = os.path.realpath(self._workspace)
        self._spellings = [
            [part for part in split_path(path) if part != "."]
            for path in (os.path.abspath(self._workspace), self.real)
        ]
        home = identity_at(self._home)
        state = (home, identity_at(self._agent_dir))
        self._state = {folder for folder in state if folder}
        kernel = identity_at(Path("/proc")) if os.path.ismount("/proc") else None
        self._kernel_device = kernel and kernel[0]
        # The operator may have made the workspace a link: this one is followed.
        self.fd = os.open(self._workspace, FOLDER & ~os.O_NOFOLLOW)
        self._held.callback(os.close, self.fd)
        self._identity = identity(self.fd)
        if self._identity == home:
            self._held.close()
            raise ToolError(
                "the workspace is the gateway's state folder; the operator has to "
                "give this agent a workspace of its own"
            )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()

    # --- Following a path -----------------------------------------------------

    @contextmanager
    def place(
        self, path: str, *, writing: bool = False, create_dirs: bool = False
    ) -> Iterator[Place]:
        """Follow a path to its place, which is held until the block ends.

        :param writing: Refuse protected names.
        :param create_dirs: Create the folders that are missing.
        :raises ToolError: It leads outside, or to what is off limits.
        :raises OSError: A part is missing, or is not a folder.
        """
        check_path(path)
        with self.behind(path, writing=writing, create_dirs=create_dirs) as place:
            yield place

    @contextmanager
    def behind(
        self, path: str, *, writing: bool = False, create_dirs: bool = False
    ) -> Iterator[Place]:
        """Do the same for a path from the disk, whatever characters it has."""
        walk = _Walk(self, path, create_dirs=create_dirs)
        try:
            place = walk.run()
            self.judge(place.folder, path)
            if writing:
                self.check_writable((*place.parents, place.name), path)
            yield place
        finally:
            os.close(walk.fd)

    def open_file(self, place: Place, path: str) -> BufferedReader:
        """Open the regular file at a place for reading.

        :raises ToolError: It is something else, or may be a file from outside.
        :raises OSError: It is missing or unreadable.
        """
        if place.status is None:
            raise not_found()
        check_regular(place.status, path)  # opening a device can already do harm
        descriptor = os.open(place.name, FILE, dir_fd=place.folder)
        try:
            status = os.fstat(descriptor)
            check_regular(status, path)  # now of what is really open
            if self.restrict and status.st_nlink > 1 and not self._allow_hard_links:
                raise ToolError(
                    f"{path!r} is a hard link, perhaps to a file outside the "
                    "workspace; the operator can set `tools.files.allow_hard_links`"
                )
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb")

    @contextmanager
    def open_folder(self, place: Place, path: str) -> Iterator[int]:
        """Open the folder at a place for listing.

        :raises ToolError: It is not a folder, or is off limits.
        :raises OSError: It is missing or unreadable.
        """
        if place.status is None:
            raise not_found()
        if not stat.S_ISDIR(place.status.st_mode):
            raise ToolError(f"{path!r} is not a folder; use `read_file`")
        with open_below(place.folder, (place.name,) if place.name else ()) as fd:
            self.judge(fd, path)
            yield fd

    # --- What is off limits ---------------------------------------------------

    def judge(self, folder: int, path: str) -> None:
        """Refuse a folder outside the workspace or in the gateway's state.

        It climbs by ``..`` from the open folder, so nothing about names, links or
        what was moved in the meantime can deceive it.

        :raises ToolError: The folder is off limits.
        """
        fd, below = os.dup(folder), None
        try:
            while (here := identity(fd)) != self._identity:
                if here in self._state:
                    raise ToolError(f"{path!r} is state of the gateway; off limits")
                if here[0] == self._kernel_device:
                    raise ToolError(f"{path!r} belongs to the kernel; off limits")
                if here == below:  # the parent of "/" is "/"
                    if self.restrict:
                        raise self.outside(path)
                    return
                below, upper = here, os.open("..", FOLDER, dir_fd=fd)
                os.close(fd)
                fd = upper
        finally:
            os.close(fd)

    def is_state(self, status: os.stat_result) -> bool:
        """Return whether a folder is the gateway's state."""
        return (status.st_dev, status.st_ino) in self._state

    def is_protected(self, name: str) -> bool:
        """Return whether nothing is written to this name or below it."""
        return is_protected(name, self._protected)

    def check_writable(self, names: Iterable[str], path: str) -> None:
        """Refuse to write to a protected name or below one.

        :raises ToolError: One of ``names`` is protected.
        """
        for name in names:
            if self.is_protected(name):
                raise ToolError(
                    f"{path!r} is not written to: {name!r} is protected; choose "
                    "another place or ask the operator (`tools.files.protected`)"
                )

    def outside(self, path: str) -> ToolError:
        """Return the error of a path that leaves the workspace."""
        return ToolError(
            f"{path!r} is outside the workspace; use a path relative to the "
            "workspace, without '..' that leaves it"
        )

    def within(self, path: str) -> list[str] | None:
        """Return the parts of an absolute path below the workspace, if it is there."""
        parts = split_path(path)
        for spelling in self._spellings:
            if parts[: len(spelling)] == spelling:
                return parts[len(spelling) :]
        return None

    def slash(self) -> int:
        """Return a descriptor of ``/``, open for as long as this root is held."""
        if self._slash is None:
            self._slash = os.open("/", FOLDER)
            self._held.callback(os.close, self._slash)
        return self._slash


class _Walk:
    """A path that is being followed; ``fd`` is the folder that was reached."""

    def __init__(self, root: Root, path: str, *, create_dirs: bool) -> None:
        self._root = root
        self._path = path
        self._create_dirs = create_dirs
        self._base = root.fd
        self._parents: list[str] = []  # from the base down to `fd`
        self._todo: list[str] = []  # the next part is the last
        self._parts = 0
        self.fd = os.dup(root.fd)

    def run(self) -> Place:
        """Go as far as the path leads, following links."""
        self._add(self._path)
        name, status = "", None
        while self._todo:
            part = self._todo.pop()
            if part == ".":
                continue
            if part == "..":
                self._up()
                continue
            status = self._status(part)
            if status is not None and stat.S_ISLNK(status.st_mode):
                self._add(os.readlink(part, dir_fd=self.fd))
            elif self._todo:
                self._enter(part, missing=status is None)
            else:
                name = part
        return Place(
            folder=self.fd,
            name=name,
            parents=tuple(self._parents),
            start="" if self._base == self._root.fd else "/",
            status=status if name else os.fstat(self.fd),
        )

    def _add(self, path: str) -> None:
        parts = split_path(path)
        if path.startswith("/"):
            below = self._root.within(path)
            if below is not None:
                parts = below
                self._restart(self._root.fd, [])
            elif self._root.restrict:
                raise self._root.outside(self._path)
            else:
                self._restart(self._root.slash(), [])
        self._parts += len(parts)
        if self._parts > MAX_PARTS:
            raise ToolError(
                f"{self._path!r} leads through more than {MAX_PARTS} names, perhaps "
                "by a link to itself; use another path"
            )
        self._todo += reversed(parts)

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _enter(self, name: str, *, missing: bool) -> None:
        # What turns out to be a folder, or goes up again, leaves nothing behind.
        if missing and self._create_dirs and not {".", ".."} & {*self._todo}:
            self._root.judge(self.fd, self._path)
            self._root.check_writable((*self._parents, name), self._path)
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=self.fd)
        self._replace(os.open(name, FOLDER, dir_fd=self.fd))
        self._parents.append(name)

    def _up(self) -> None:
        """Go back the way that was come, which a moved folder cannot divert."""
        if self._parents:
            self._restart(self._base, self._parents[:-1])
        elif self._base == self._root.fd:
            if self._root.restrict:
                raise self._root.outside(self._path)
            self._restart(self._root.slash(), [])
            self._todo += reversed(split_path(os.path.dirname(self._root.real)))

    def _restart(self, base: int, parents: list[str]) -> None:
        self._base, self._parents = base, parents
        self._replace(os.dup(base))
        for name in parents:
            self._replace(os.open(name, FOLDER, dir_fd=self.fd))

    def _replace(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd
