"""The network of the drill: machines of Kashi at two switches, for clients and for the database.

All of it is in a network namespace of the drill (`own_network`), and is gone with it. A machine is
a namespace too. What is parted or unplugged goes dead without a word: no packet is refused.
"""

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

from tests.faults.processes import until

PROGRAMS = ("ip", "unshare", "nsenter", "setpriv")
CLIENTS, DATABASE = "clients", "database"  # the switches
NUMBERS = {CLIENTS: 0, DATABASE: 1}  # of their networks
DATABASE_NETWORK = "10.83.1.0/24"
DATABASE_HOST = "10.83.1.254"  # of all nodes of etcd and Patroni
_MARK = "KASHI_HA_NETWORK"


def missing_programs() -> list[str]:
    return [each for each in PROGRAMS if which(each) is None]


def own_network() -> None:
    """Begin this program again in a network namespace of its own, unless that is done."""
    if _MARK in os.environ:
        ip("link", "set", "lo", "up")
        return
    words = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    words += [sys.executable, "-m", "tests.ha", *sys.argv[1:]]
    os.execvpe(words[0], words, os.environ | {_MARK: "1"})


def ip(*words: object) -> None:
    subprocess.run(["ip", *map(str, words)], check=True)


class Network:
    """So many machines, each with a cable to either switch; clients and database are here."""

    def __init__(self, machines: int) -> None:
        self.hosts = [f"10.83.{NUMBERS[CLIENTS]}.{n + 1}" for n in range(machines)]
        self._holders: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        for switch, number in NUMBERS.items():
            ip("link", "add", switch, "type", "bridge")
            ip("address", "add", f"10.83.{number}.254/24", "dev", switch)
            ip("link", "set", switch, "up")
        for n in range(len(self.hosts)):
            await self._add_machine(n)

    async def _add_machine(self, n: int) -> None:
        holder = await self._namespace()
        subprocess.run([*self.within(n), "ip", "link", "set", "lo", "up"], check=True)
        for switch, number in NUMBERS.items():
            end = f"eth{number}"
            ip(
                "link",
                "add",
                _port(switch, n),
                "type",
                "veth",
                "peer",
                "name",
                end,
                "netns",
                holder,
            )
            self.plug_in(switch, n)
            address = ("address", "add", f"10.83.{number}.{n + 1}/24", "dev", end)
            for words in (address, ("link", "set", end, "up")):
                subprocess.run([*self.within(n), "ip", *words], check=True)

    async def _namespace(self) -> int:
        """Make a namespace; return the process that holds it for as long as we live."""
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        holder = subprocess.Popen(words)
        self._holders.append(holder)
        place, ours = Path(f"/proc/{holder.pid}/ns/net"), Path("/proc/self/ns/net").readlink()
        await until(lambda: place.readlink() != ours, "a network namespace")
        return holder.pid

    def within(self, n: int) -> list[str]:
        """Return the words that run a command on a machine."""
        return ["nsenter", f"--net=/proc/{self._holders[n].pid}/ns/net"]

    def part(self, *, is_parted: bool) -> None:
        """Let no machine reach another, or let all do so again; each reaches us all the time."""
        for n in range(len(self.hosts)):
            state = "on" if is_parted else "off"
            ip("link", "set", "dev", _port(CLIENTS, n), "type", "bridge_slave", "isolated", state)

    def unplug(self, switch: str, n: int) -> None:
        """Let a machine reach nobody at a switch, and nobody reach it."""
        ip("link", "set", _port(switch, n), "nomaster")

    def plug_in(self, switch: str, n: int) -> None:
        ip("link", "set", _port(switch, n), "master", switch)
        ip("link", "set", _port(switch, n), "up")

    def stop(self) -> None:
        for each in self._holders:
            each.kill()
            each.wait()
        for switch in NUMBERS:
            ip("link", "delete", switch)


def _port(switch: str, n: int) -> str:
    """A switch's end of a machine's cable."""
    return f"{switch}{n}"
