"""Packages whose ``__init__`` waits until somebody wants what only it has."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any


def defer(name: str, **homes: str) -> None:
    """Have a package's own code run with the first use of a name that it defines.

    Its submodules can be imported meanwhile, which would run that code first. uvicorn's
    imports its command line, with click and the supervisors of its processes: 2 MB and
    a thirtieth of a start, of which a server inside a gateway needs nothing. Whoever
    else imports uvicorn finds all that belongs there.

    `importlib.util.LazyLoader` cannot do this: the import of a submodule reads
    ``__path__``, and so runs the package.

    :param homes: Names that the submodules take from the package, and which one of
        them each is from.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:  # it is there, or its import will tell
        return
    loader, package = spec.loader, module_from_spec(spec)

    def find(wanted: str) -> Any:
        if wanted in homes:
            return getattr(import_module(f"{name}.{homes[wanted]}"), wanted)
        vars(package).pop("__getattr__", None)  # once; what is missing then is
        loader.exec_module(package)
        return getattr(package, wanted)

    vars(package)["__getattr__"] = find
    sys.modules[name] = package
