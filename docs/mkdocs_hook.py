"""Lets the pages live beside ``mkdocs.yml``.

mkdocs refuses a ``docs_dir`` that is the folder of its config file, but only while
it validates the config. The pages have their paths in the repository, so the real
folder is put in afterwards. See decisions/0004-docs-layout.md.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Read the pages from the folder of the config file."""
    config.docs_dir = str(Path(config.config_file_path).parent)
    return config
