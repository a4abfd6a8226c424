"""Templates: whatever is filled in is text, and nothing that is missing is passed over."""

from pathlib import Path

import jinja2
import msgspec
import pytest
from tests.unit.gateway.admin.scene import a_view

from cortex.gateway.admin.dashboard.model_page import model_rows
from cortex.gateway.admin.dashboard.render import FOLDER, MAX_KEPT, Renderer, href


def test_what_is_filled_in_is_text_and_no_markup() -> None:
    text = Renderer().render("refusal.html", {"message": "<script>alert(1)</script>", "code": '"><img src=x>'})
    assert "<script>" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_what_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        Renderer().render("refusal.html", {"message": "m"})


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_no_template_has_what_the_browser_is_told_not_to_take(file: Path) -> None:
    text = file.read_text()
    assert "|safe" not in text.replace(" ", "")
    assert "autoescape false" not in text
    for banned in (" style=", " onclick", " onchange", " onload", "javascript:", "hx-on", "<style"):
        assert banned not in text, banned
    for script in text.split("<script")[1:]:
        assert script.partition(">")[2].startswith("</script>"), "a script with content"


def test_a_path_keeps_what_it_is_given_and_leaves_out_what_is_not() -> None:
    assert (
        href("/dashboard/models/one", model="a/b&c=<d> é") == "/dashboard/models/one?model=a%2Fb%26c%3D%3Cd%3E+%C3%A9"
    )
    assert href("/dashboard/models", q="", node=None) == "/dashboard/models"


def test_what_is_shown_alike_is_rendered_once_and_what_is_otherwise_anew() -> None:
    renderer = Renderer()
    row = model_rows(a_view())[0]
    first = renderer.kept("models_row.html", "org/big", row)
    assert renderer.kept("models_row.html", "org/big", row._replace(loads=())) is first
    other = row._replace(entry=msgspec.structs.replace(row.entry, in_flight=77))
    assert "77" in renderer.kept("models_row.html", "org/big", other)


def test_what_is_kept_is_bounded() -> None:
    renderer = Renderer()
    row = model_rows(a_view())[0]
    for number in range(MAX_KEPT + 5):
        renderer.kept("models_row.html", str(number), row)
    assert len(renderer._kept) == MAX_KEPT
