"""What others wrote, on a terminal or in a log."""

from __future__ import annotations

import json

from srv.escapes import escaped, escaped_but_layout, escaped_json

EVIL = "é\t\n\r\x1b[2J\x9b\u202e\u2028\u061c\u200f"


def test_a_line_stays_a_line() -> None:
    """Every control and direction character is shown escaped, line ends and tabs as well; letters stay."""
    assert escaped(EVIL) == "é\\t\\n\\r\\x1b[2J\\x9b\\u202e\\u2028\\u061c\\u200f"


def test_a_text_of_several_lines_keeps_its_layout() -> None:
    """Line ends and tabs stay, and nothing else that drives a terminal."""
    assert escaped_but_layout(EVIL) == "é\t\n\\r\\x1b[2J\\x9b\\u202e\\u2028\\u061c\\u200f"


def test_escaped_json_means_what_it_meant() -> None:
    """It is printable but for its layout, and decodes to the same."""
    shown = escaped_json(json.dumps({"a": EVIL, "b": ["\x7f"]}, ensure_ascii=False, indent=2))
    assert json.loads(shown) == {"a": EVIL, "b": ["\x7f"]}
    assert all(line.isprintable() for line in shown.split("\n"))
