"""CONTRIBUTING.md shows every room."""

import re

from tests.docs.pages import ROOT, blocks

PACKAGES = ("vae", "tune", "evaluation")


def test_the_tree_has_every_room_with_a_caption():
    [tree] = [block.text for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "text"]
    shown: dict[str, str] = {}
    package = ""
    for indent, name, caption in re.findall(r"^( *)(\w+)/ +(\S.*)$", tree, flags=re.MULTILINE):
        package = package if indent else name
        shown[f"{package}/{name}" if indent else name] = caption
    rooms = {
        str(file.parent.relative_to(ROOT)) for name in PACKAGES for file in (ROOT / name).rglob("__init__.py")
    }
    assert rooms <= set(shown)
    assert {room for room in shown if room.split("/")[0] in PACKAGES} == rooms
