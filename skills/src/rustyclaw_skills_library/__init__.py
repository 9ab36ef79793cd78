"""Curated skills: one folder each, with a ``SKILL.md`` inside. Data, not code."""
