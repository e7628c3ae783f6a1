"""The command line. Each command imports what it needs when it runs, so that help is instant.

Answers go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 asked wrongly (the
command line or the configuration).
"""
