"""The configuration: one YAML file, includes, and environment overrides."""

from __future__ import annotations

from rustyclaw.config.load import config_from, load_config
from rustyclaw.config.model import Config
from rustyclaw.config.secrets import Redactor, Secret
from rustyclaw.config.source import home_dir

__all__ = ["Config", "Redactor", "Secret", "config_from", "home_dir", "load_config"]
