"""What a browser makes of a page, as far as tests ask."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "rect", "path"}


@dataclass
class Form:
    """A form: where it goes, and what it would send by itself."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Markup(HTMLParser):
    """Elements in order, text, forms; holds that all is closed as it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.forms: list[Form] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        # a browser would end the paragraph here, and put things elsewhere than the template does
        assert not ("p" in self._open and tag in ("form", "div", "p", "ul", "table", "section", "h2")), tag
        self.elements.append((tag, given))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "form":
            self.forms.append(Form(given.get("action") or "", given.get("method") or "get"))
        elif tag == "input" and "form" in self._open and given.get("type") != "checkbox":
            self.forms[-1].fields[given.get("name") or ""] = given.get("value") or ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [given for name, given in self.elements if name == tag]
