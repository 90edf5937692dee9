"""The text of an HTML page or mail, line by line as it is shown."""

from __future__ import annotations

from html.parser import HTMLParser

_BLOCKS = frozenset(
    "address article blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre section table td th tr ul".split()
)
_UNSHOWN = frozenset("head script style template title".split())
_QUOTES = "blockquote"


def text_of_html(html: str) -> str:
    """Tags out, entities read, blocks on lines of their own; what stands in a block quotation begins with `> `, as in plain mail.

    Never fails: what is no HTML is text.
    """
    parser = _Text()
    parser.feed(html)
    parser.close()
    return "\n".join(parser.finished())


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.line: list[str] = []
        self.unshown = self.quoted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)
        self.unshown += tag in _UNSHOWN
        self.quoted += tag == _QUOTES

    def handle_endtag(self, tag: str) -> None:
        self._break(tag)
        self.unshown = max(self.unshown - (tag in _UNSHOWN), 0)
        self.quoted = max(self.quoted - (tag == _QUOTES), 0)

    def handle_data(self, data: str) -> None:
        if not self.unshown:
            self.line.append(data)

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            text = " ".join("".join(self.line).split())
            self.lines.append(f"> {text}" if self.quoted else text)
            self.line = []

    def finished(self) -> list[str]:
        self._break("p")
        return self.lines
