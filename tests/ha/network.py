"""The network of the drill: machines of Kashi, each with an address of its own, at one switch.

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
SWITCH = "kashi"
HOST = "10.83.0.254"  # ours, beside the machines
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
    """A switch with so many machines."""

    def __init__(self, machines: int) -> None:
        self.hosts = [f"10.83.0.{n + 1}" for n in range(machines)]
        self._holders: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        ip("link", "add", SWITCH, "type", "bridge")
        ip("address", "add", f"{HOST}/24", "dev", SWITCH)
        ip("link", "set", SWITCH, "up")
        for n, host in enumerate(self.hosts):
            holder = await self._namespace()
            ip("link", "add", _port(n), "type", "veth", "peer", "name", "eth0", "netns", holder)
            self.plug_in(n)
            for words in (
                ("address", "add", f"{host}/24", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
            ):
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
            ip("link", "set", "dev", _port(n), "type", "bridge_slave", "isolated", state)

    def unplug(self, n: int) -> None:
        """Let a machine reach nobody, and nobody reach it."""
        ip("link", "set", _port(n), "nomaster")

    def plug_in(self, n: int) -> None:
        ip("link", "set", _port(n), "master", SWITCH)
        ip("link", "set", _port(n), "up")

    def stop(self) -> None:
        for each in self._holders:
            each.kill()
            each.wait()
        ip("link", "delete", SWITCH)


def _port(n: int) -> str:
    """The switch's end of a machine's cable."""
    return f"port{n}"
