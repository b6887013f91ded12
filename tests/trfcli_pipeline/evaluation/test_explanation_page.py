import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trfcli_pipeline.evaluation.explanation import Explanation, TokenAttribution
from trfcli_pipeline.evaluation.explanation_page import is_explanation_page, render_explanations

HOSTILE = '</style><script>alert("1")</script>{{ 7 * 191 }}'


def explanation(text: str, value: float) -> Explanation:
    return Explanation(
        label=f"LABEL {text}",
        score=0.75,
        is_predicted=False,
        log_odds=1.1,
        base=0.1,
        tokens=(TokenAttribution(text, " ", value), TokenAttribution("b", "", -0.2)),
        steps=16,
        is_complete=True,
    )


class Page(HTMLParser):
    """The marked tokens of a page, with their classes and titles, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.marks: list[tuple[str | None, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "mark" and "title" in dict(attrs):
            self.marks.append((dict(attrs)["class"], dict(attrs)["title"]))


def test_tokens_are_marked() -> None:
    html = render_explanations([explanation("a", 1.0)], model="./model")
    assert Page(html).marks == [("for level-4", "+1.00"), ("against level-1", "-0.20")]
    assert "(not predicted)" in html
    assert "unexplained <b>+0.20</b>, together <b>+1.10</b>" in html


def test_complete_sum() -> None:
    html = render_explanations([explanation("a", 1.2)], model="./model")
    assert "empty input <b>+0.10</b>, tokens <b>+1.00</b>, together <b>+1.10</b>" in html


def test_texts_and_labels_are_escaped() -> None:
    html = render_explanations([explanation(HOSTILE, 1.0)], model=HOSTILE)
    assert "script" not in Page(html).tags
    assert "1337" not in html


def test_style_is_the_one_that_the_policy_allows() -> None:
    html = render_explanations([explanation("a", 1.0)], model="./model")
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{hashed}'" in html
    assert "http" not in html.replace("http-equiv", "")


@pytest.mark.parametrize(("html", "is_page"), [(None, True), ("<html></html>", False)])
def test_pages_are_recognized(tmp_path: Path, html: str | None, is_page: bool) -> None:
    path = tmp_path / "page.html"
    path.write_text(html or render_explanations([], model="m"))
    assert is_explanation_page(path) is is_page
