"""The functions that long work calls while it goes on."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # the steps that are done, and their total
Done = Callable[[int], None]  # the steps that are done, where the caller knows the total
