"""The command `kashi`: each command parses its words, calls one function, and prints.

What needs the server's packages is imported inside its command, so that `pip install kashi` alone
gives verification and the provider's commands.
"""
