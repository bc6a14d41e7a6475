"""Books with a shipped programme that awards, and policies for each of its limits."""

from importlib.resources import files
from typing import Any

import msgspec

from tests.books import Books

NOW = "2025-03-01T12:00:00+08:00"
POOL = "1000000000.00"


def shipped(programme: str) -> str:
    file = files("meter").joinpath(f"policies/{programme}-2024-12.toml")
    return file.read_text("utf-8")


def granting(*programmes: str, books: Books | None = None, budget: str = POOL) -> Books:
    """Return books with programmes of awards, their budgets, an enterprise and project P."""
    books = books or Books(NOW)
    for programme in programmes:
        books.activate(shipped(programme))
        if books.state.active[programme].pool is None:
            books.budget(2025, budget, programme=programme)
            books.budget(2026, budget, programme=programme)
    books.enterprise()
    books.project()
    return books


def bent(books: Books, programme: str, **figures: Any) -> Books:
    """Change the policy by which the core decides, but not its entry."""
    versions = books.state.policies[programme]
    versions["2024-12"] = msgspec.structs.replace(versions["2024-12"], **figures)
    return books


def with_class(books: Books, programme: str, name: str, **figures: Any) -> Books:
    classes = dict(books.state.policies[programme]["2024-12"].classes)
    classes[name] = msgspec.structs.replace(classes[name], **figures)
    return bent(books, programme, classes=classes)
