"""What it means to delete or to write a path."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.paths import TEMPORARY, Places, Target
from rustyclaw_exec.rules.catalog import (
    DESTROY_EVERYTHING,
    DESTROY_OUTSIDE,
    DESTROY_SYSTEM_FILE,
    DESTROY_TREE,
    DESTROY_UNKNOWN,
    DESTROY_WORKSPACE,
    DISK_WRITE,
    GIT_HOOK,
    LOGS,
    REMOTE_SHELL,
    STARTUP_FILE,
    STATE_WRITE,
    WRITE_OUTSIDE,
)
from rustyclaw_exec.values import BELOW, OUTPUT, UNKNOWN
from rustyclaw_exec.verdict import Finding, Rule

_CACHE = re.compile(r"/(?:\.cache|\.npm/_cacache|Library/Caches)(?:/|$)")
_HISTORY = re.compile(r"/\.\w+_history$")
_PATH_FILE = re.compile(r"\.pth$|(?:^|/)(?:site|user)customize\.py$")


def deleted(call: Call, path: str, *, recursive: bool) -> Iterator[Finding]:
    """Judge the deletion of a path.

    :param recursive: The whole tree below it goes as well.
    """
    for target in call.targets(path):
        rule = _deletion(call.judge.places, target, recursive=recursive)
        if rule is not None:
            yield call.found(rule)


def _deletion(places: Places, target: Target, *, recursive: bool) -> Rule | None:
    place = places.place(target)
    if place == "unknown":
        return DESTROY_UNKNOWN if recursive else None
    if place == "state":
        return STATE_WRITE
    if place in ("device", "stream", "socket"):
        return DESTROY_SYSTEM_FILE
    if target.known in TEMPORARY and not target.exact:
        return DESTROY_EVERYTHING if target.sweeps else None
    if place in ("root", "above"):
        return DESTROY_TREE
    if place == "system":
        return DESTROY_TREE if recursive else DESTROY_SYSTEM_FILE
    if place == "home":
        return DESTROY_TREE if recursive or target.sweeps else DESTROY_OUTSIDE
    if place in ("user", "elsewhere"):
        return _others_deletion(places, target, recursive=recursive)
    if place == "workspace" and target.exact:
        return DESTROY_WORKSPACE if recursive else None
    return _own_deletion(target, recursive=recursive, top=place == "workspace")


def _others_deletion(places: Places, target: Target, *, recursive: bool) -> Rule | None:
    if _CACHE.search(target.path):
        return None
    top = target.path.count("/") <= places.home.count("/") + 1
    if recursive and top and places.place(target) == "user":
        return DESTROY_TREE
    return DESTROY_OUTSIDE


def _own_deletion(target: Target, *, recursive: bool, top: bool) -> Rule | None:
    """Judge a deletion below the workspace or a folder for temporary files."""
    if top and target.sweeps and recursive and not target.path.endswith(BELOW):
        return DESTROY_EVERYTHING
    if recursive and (UNKNOWN in target.path or OUTPUT in target.path):
        return DESTROY_UNKNOWN  # it may hold `..`
    return DESTROY_EVERYTHING if recursive and target.name == ".git" else None


def written(call: Call, path: str) -> Iterator[Finding]:
    """Judge that a path is created, changed or replaced."""
    if _PATH_FILE.search(path):
        yield call.found(STARTUP_FILE)
        return
    if _HISTORY.search(path):
        yield call.found(LOGS)
    for target in call.targets(path):
        rule = _change(call.judge.places, target)
        if rule is not None:
            yield call.found(rule)


def _change(places: Places, target: Target) -> Rule | None:
    place = places.place(target)
    if place == "socket":
        return REMOTE_SHELL
    if place == "device":
        return DISK_WRITE
    if place in ("stream", "unknown"):
        return None
    if places.startup(target):
        return STARTUP_FILE
    if place == "state":
        return STATE_WRITE
    if places.git_hook(target):
        return GIT_HOOK
    if place in ("system", "root"):
        return DESTROY_SYSTEM_FILE
    return WRITE_OUTSIDE if place == "elsewhere" else None
