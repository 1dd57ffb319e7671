"""Tables and sentences on the terminal, one module a command.

In: results, manifests and records that the commands return or read. Out: text on stdout, notes on stderr.
Imports: ``bench``, ``export`` and ``cli.console``; only commands import it, each at the moment it prints.
"""
