"""The pages that a user reads, and the examples in them."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "BENCHMARKS.md", "CONTRIBUTING.md")] + [
    page for page in sorted((ROOT / "docs").glob("*.md")) if not page.is_symlink()
]
LANGUAGES = ("python", "bash", "sql", "yaml", "text")
"""What an example may be; `text` is what a program prints."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and the line of the page where it begins."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\S*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(page, text[: block.start()].count("\n") + 1, block[1], block[2]) for block in found]


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language in languages]
