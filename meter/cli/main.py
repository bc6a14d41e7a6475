"""The command `kashi`: each command parses its arguments, calls one function, and prints.

What needs the server's packages is imported inside its command, so that `pip install kashi` alone
is enough to verify, and for the provider's commands.
"""

# Each of these files adds its commands.
from meter.cli import agent, audit, auditor, cluster, doctor, ledger, person, provider, witness
from meter.cli.common import main

__all__ = [
    "agent",
    "audit",
    "auditor",
    "cluster",
    "doctor",
    "ledger",
    "main",
    "person",
    "provider",
    "witness",
]
