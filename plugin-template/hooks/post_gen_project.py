"""Keep only the files of the chosen kind."""

from pathlib import Path

for kind in ("tool", "channel", "provider", "hook"):
    if kind != "{{ cookiecutter.kind }}":
        Path("src", "{{ cookiecutter.__package }}", f"{kind}.py").unlink()
        Path("tests", f"test_{kind}.py").unlink()
