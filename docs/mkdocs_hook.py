"""Lets the pages live beside ``mkdocs.yml``, and lists the decisions by itself.

mkdocs refuses a ``docs_dir`` that is the folder of its config file, but only while
it validates the config. The pages have their paths in the repository, so the real
folder is put in afterwards. See decisions/0004-docs-layout.md.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Read the pages from the folder of the config file."""
    docs = Path(config.config_file_path).parent
    config.docs_dir = str(docs)
    decisions = sorted(path.name for path in docs.glob("decisions/*.md"))
    (*_, inside) = config.nav
    inside["Inside"].append({"Decisions": [f"decisions/{name}" for name in decisions]})
    return config
