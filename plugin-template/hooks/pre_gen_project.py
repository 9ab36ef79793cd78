"""Refuse answers that would bake a plugin which cannot work."""

import re
import sys

NAME = "{{ cookiecutter.name }}"
TEXTS = (r"""{{ cookiecutter.description }} """, r"""{{ cookiecutter.author }} """)

if NAME.startswith("rustyclaw"):
    sys.exit(f"error: name {NAME!r} repeats the prefix; leave 'rustyclaw' out")
if not re.fullmatch(r"(?=.{1,24}$)[a-z][a-z0-9]*(_[a-z0-9]+)*", NAME):
    sys.exit(f"error: name {NAME!r} is no plugin name; use up to 24 of a-z, 0-9 and _")
for text in map(str.strip, TEXTS):
    if not re.fullmatch(r"[^\"\\\n]{1,72}", text):
        sys.exit(f"error: text {text!r} does not fit; use up to 72 characters, no \" or \\")
