"""The medium with the answers for Windows setup."""

import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

HERE = Path(__file__).parent
ANSWERS, CHECK = HERE / "autounattend.xml", HERE / "check.ps1"
UNATTEND = "urn:schemas-microsoft-com:unattend"
NAMES = {"u": UNATTEND}


def make_answers(directory: Path, image: int = 1, key: str = "") -> Path:
    """A directory with the answer file, for an image of the ISO and a product key, and what it runs."""
    ET.register_namespace("", UNATTEND)
    ET.register_namespace("wcm", "http://schemas.microsoft.com/WMIConfig/2002/State")
    tree = ET.parse(ANSWERS)
    found(tree, ".//u:MetaData/u:Value").text = str(image)
    product = found(tree, ".//u:ProductKey")
    if key:
        found(tree, ".//u:ProductKey/u:Key").text = key
    else:
        product.remove(found(tree, ".//u:ProductKey/u:Key"))
    medium = directory / "answers"
    medium.mkdir()
    tree.write(medium / ANSWERS.name, encoding="utf-8", xml_declaration=True)
    shutil.copy(CHECK, medium)
    return medium


def found(tree: "ET.ElementTree[ET.Element]", path: str) -> ET.Element:
    """The element at a path."""
    element = tree.find(path, NAMES)
    if element is None:
        raise LookupError(f"{ANSWERS} has no {path}")
    return element
