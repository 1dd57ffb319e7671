"""The command line: each module parses one command's arguments, calls one function, and prints.

In: arguments. Out: results on stdout, progress and errors on stderr, and an exit code.
Imports: ``bench`` and ``export``, heavy ones inside the command that needs them.
"""
