"""Find the fenced code blocks of a Markdown page."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]*?) -->\n\n?)?"
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        page: The page that it is on.
        line: The line that its fence is on.
        language: The word after the fence.
        code: What is between the fences, without common indentation.
        reason: Why it isn't run: the text of the comment `<!-- not run: ... -->` above it.
        span: Where `code` is in the text of the page.
    """

    page: Path
    line: int
    language: str
    code: str
    reason: str | None
    span: tuple[int, int]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README and every page of the site."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf8")
    blocks = []
    for match in _BLOCK.finditer(text):
        indent = len(match["indent"])
        lines = [line[indent:] for line in match["code"].splitlines(keepends=True)]
        blocks.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start("language")) + 1,
                language=match["language"],
                code="".join(lines),
                reason=match["reason"],
                span=match.span("code"),
            )
        )
    return blocks


def commands(code: str, *, prompt: str = "") -> list[str]:
    """The commands of a shell block. Lines that a backslash continues are joined.

    Args:
        prompt: What the line of a command starts with; lines without it are output.
    """
    joined = re.sub(r" *\\\n *", " ", code)
    lines = [line for line in joined.splitlines() if line.startswith(prompt)]
    stripped = [line.removeprefix(prompt).strip() for line in lines]
    return [line for line in stripped if line and not line.startswith("#")]
