"""The rules: who may call, and which model answers. Pure, given ports; no I/O, no wire formats."""
