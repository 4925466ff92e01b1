"""SVG for use within a page: charts without fonts, fixed ink or names of their own."""

import io
import re
from itertools import count
from typing import Any
from xml.etree import ElementTree

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["INK", "STYLE", "element"]

INK, _FAINT = "#010203", "#040506"  # stand-ins, replaced by currentColor
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a run's name is a dollar
    "font.family": "DejaVu Sans",  # for measuring only; the page's own font is used
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "ytick.minor.size": 0.0,
    "grid.color": _FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
}
_serial = count()


def _local(name: str) -> str:
    """A name without its namespace, which HTML does not want."""
    return name.rpartition("}")[2]


def element(figure: Figure, title: str) -> str:
    """The figure as an ``<svg>`` element; ``title`` is what a screen reader says."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    prefix = f"c{next(_serial)}-"  # no two charts of a page may share a name
    referred = set(re.findall(r"#([\w-]+)", " ".join(value for node in root.iter() for value in node.attrib.values())))
    for node in root.iter():
        node.tag = _local(node.tag)
        attributes = {_local(key): _tidy(_local(key), value, prefix) for key, value in node.attrib.items()}
        if node.get("id") not in referred:
            attributes.pop("id", None)
        node.attrib.clear()
        node.attrib.update(attributes)
        if node.tag != "text":
            node.text = None  # line breaks
        node.tail = None
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"class": "chart", "role": "img", "aria-label": title, "viewBox": box})
    return ElementTree.tostring(root, encoding="unicode")


def _tidy(key: str, value: str, prefix: str) -> str:
    """An attribute as the page wants it."""
    if key == "id":
        return prefix + value
    if key == "style":
        value = re.sub(r" *font-family: [^;]*;?", "", value)
    elif key in ("d", "x", "y", "transform"):
        value = re.sub(r"(\d\.\d)\d+", r"\1", " ".join(value.split()))  # a tenth of a point will do
    value = re.sub(r"^#(?=[\w-]+$)", f"#{prefix}", value) if key == "href" else value.replace("url(#", f"url(#{prefix}")
    return value.replace(INK, "currentColor").replace(_FAINT, "currentColor")
