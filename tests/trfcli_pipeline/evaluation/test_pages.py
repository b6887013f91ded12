import base64
import hashlib
import re
from pathlib import Path

import jinja2
import pytest
from markupsafe import Markup

from trfcli_pipeline.evaluation.pages import is_page, page_environment, render_page

TEMPLATES = {
    "a.html": "{% extends 'page.html' %}{% block title %}{{ name }}{% endblock %}",
    "a.css": "p { margin: 0 }",
    "a.js": "'use strict'",
}


@pytest.fixture
def environment() -> jinja2.Environment:
    found = page_environment()
    assert found.loader is not None
    found.loader = jinja2.ChoiceLoader([jinja2.DictLoader(TEMPLATES), found.loader])
    return found


def source(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def test_policy_allows_only_the_style_and_script_of_the_page(
    environment: jinja2.Environment,
) -> None:
    page = render_page(
        environment, "a.html", command="trf a", styles=["a.css"], script="a.js", name="<b>\udcff"
    )
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert script == TEMPLATES["a.js"]
    policy = f"default-src 'none'; style-src {source(style)}; script-src {source(script)}"
    assert f'content="{policy}"' in page
    assert page.count("&lt;b&gt;?") == 2


def test_page_without_a_script(environment: jinja2.Environment) -> None:
    page = render_page(
        environment,
        "a.html",
        command="trf a",
        styles=["a.css", "a.css"],
        styled_attributes=True,
        name=Markup("a"),
    )
    assert "script" not in page
    assert "style-src 'unsafe-inline'\"" in page
    assert page.count(TEMPLATES["a.css"]) == 2


def test_page_is_recognized_by_its_command(environment: jinja2.Environment, tmp_path: Path) -> None:
    page = render_page(environment, "a.html", command="trf a", styles=[], name="x")
    (tmp_path / "page.html").write_text(page)
    assert is_page(tmp_path / "page.html", "trf a")
    assert not is_page(tmp_path / "page.html", "trf b")
