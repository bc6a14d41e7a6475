"""Compile the rules and the translations when Kashi is installed.

`pyproject.toml` lists the files for mypyc.

The files stay Python that runs as it stands. Without a C compiler nothing is compiled, and
everything works the same, only slower. With `KASHI_COMPILE=no` nothing is compiled; with
`KASHI_COMPILE=yes` a failure is an error. Why: docs/adr/0014-the-rules-are-compiled.md.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from mypyc.build import mypycify
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import BaseError, CCompilerError

# What `kashi` says in Chinese, with the English that it stands for.
CATALOGUE: Final = Path("meter/locale/zh/LC_MESSAGES/kashi.po")
WANTED = os.environ.get("KASHI_COMPILE", "if possible")

# mypy's settings of this project ask for more than compiling needs, so none are read. The types of
# libraries that are missing during the build do not matter.
OPTIONS = ["--config-file=", "--ignore-missing-imports"]


class Compile(build_ext):
    """Builds the listed modules as one library, so that their calls of each other are direct."""

    def run(self) -> None:
        if WANTED == "no":
            self._leave_out("KASHI_COMPILE says so")
            return
        try:
            self._compile()
        except (BaseError, CCompilerError) as error:
            if WANTED == "yes":
                raise
            self._leave_out(str(error))

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), os.path.relpath(__file__)]

    def _compile(self) -> None:
        """Translate the listed files to C, and build them with the usual command."""
        files = [source for each in self.extensions for source in each.sources]
        self.distribution.ext_modules = mypycify(
            [*OPTIONS, *files], group_name="kashi", opt_level="3"
        )
        command = build_ext(self.distribution)
        command.inplace, command.build_lib = self.inplace, self.build_lib
        command.build_temp, command.editable_mode = self.build_temp, self.editable_mode
        command.ensure_finalized()
        command.run()
        self.extensions = command.extensions

    def _leave_out(self, why: str) -> None:
        """Install the files alone, and remove older compiled ones, which Python would prefer."""
        self.warn(f"nothing is compiled: {why}")
        for each in self.extensions:
            with suppress(FileNotFoundError):
                Path(self.get_ext_fullpath(each.name)).unlink()
        self.extensions = []


class Translate(build_py):
    """Builds the Python files, with what `gettext` reads of the catalogue beside it."""

    def run(self) -> None:
        translate()
        super().run()


def translate() -> None:
    """Write what `gettext` reads beside the catalogue, from the top folder: each time the same."""
    with CATALOGUE.open("rb") as file:
        catalogue = read_po(file, locale="zh")
    with CATALOGUE.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalogue)
