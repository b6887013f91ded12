"""Nothing in a meta.json is read as Markdown or HTML."""

import unicodedata

import pytest
from cards import full_meta
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from trfcli_pipeline.tasks.model_card import model_card


@pytest.mark.parametrize(
    "label",
    [
        *("<b>|x", "[a](b)", "a|b", "a\\|b", "e`f", "``", "|", "&lt;", "*x*", "__x__", "~~x~~"),
        *(
            "<script>",
            "![i](j)",
            "a\tb",
            "# h",
            "- i",
            "<!--",
            "$x$",
            "1. x",
            "23) x",
            "+ x",
            "===",
        ),
    ],
)
def test_markup_in_names_shows_as_it_is(label: str) -> None:
    shown = " ".join(label.split())
    meta = full_meta()
    meta["labels"] = {"trf_textcat": [label]}
    meta["description"] = meta["license"] = label
    meta["performance"]["cats_f_per_type"] = {label: {"p": 1.0, "r": 0.5, "f": 0.6}}
    meta["trf"] = {
        "encoder": {"name": label},
        "training": {"labels": {label: 7}, "data_roles": {"dev": [label]}},
    }
    card = model_card(meta)
    assert ModelCard(card).data.eval_results[0].dataset_name == label
    tokens = MarkdownIt().enable("table").parse(card.split("\n---\n", 1)[1])
    inlines = [each for each in tokens if each.type == "inline"]
    texts = ["".join(child.content for child in each.children or ()) for each in inlines]
    plain = [text.replace("<code>", "").replace("</code>", "") for text in texts]
    for row in ([shown, "7"], [shown, "1.000", "0.500", "0.600"], ["Name", shown]):
        starts = [i for i, text in enumerate(plain) if text == row[0]]
        assert any(plain[i : i + len(row)] == row for i in starts), row
    assert plain[1] == shown
    markup = {
        child.content if child.type == "html_inline" else child.type
        for each in inlines
        for child in each.children or ()
    }
    harmless = {"text", "text_special", "code_inline", "<code>", "</code>", "softbreak"}
    # The card itself links to spaCy.
    assert markup <= harmless | {"link_open", "link_close"}
    assert not any(each.type.startswith(("html", "blockquote")) for each in tokens)


def test_control_characters_do_not_reach_a_terminal() -> None:
    meta = full_meta()
    meta["description"] = "\x1b[31mred\x07"
    meta["labels"] = {"trf_textcat": ["\x00a", "b\x9bc"]}
    body = model_card(meta).split("\n---\n", 1)[1]
    assert not any(unicodedata.category(each) == "Cc" for each in body.replace("\n", ""))
    assert "\ufffd&#91;31mred\ufffd" in body
    assert "`trf_textcat`: `\ufffda`, `b\ufffdc`" in body
