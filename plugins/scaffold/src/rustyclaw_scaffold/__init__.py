"""The command ``rustyclaw new``: write the files of a new plugin."""
