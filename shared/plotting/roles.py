"""Which colour belongs to which method: fixed in all labs, so that a reader recognises a method at sight.

Labels are recognised by their words: ``"LoRA, r = 16"``, ``"lora"`` and ``"LoRA, merged"`` are the role ``lora``. The
method that a lab is about (its role is *own*) is blue in that lab; everywhere else it has the colour of :data:`ROLES`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from shared import opened_lab

#: Colour of the lab's own method. No other role is blue.
OWN = "#0072B2"

#: Role -> colour. Base grey, full fine-tuning orange; related methods have related colours.
ROLES = {
    "base": "#8C8C8C",
    "majority": "#4D4D4D",
    "head": "#8B5A2B",
    "words": "#CDB38B",
    "full": "#E67E00",
    "lora": "#009E73",
    "qlora": "#74C69D",
    "dora": "#00594C",
    "adalora": "#7CB518",
    "rslora": "#4F6D1F",
    "vera": "#B5BD00",
    "adapter": "#7B3FA0",
    "pfeiffer": "#C08CE0",
    "bitfit": "#D6568F",
    "ia3": "#8E1B3A",
    "ln-tuning": "#E9A6B8",
    "prompt-tuning": "#D62728",
    "prefix-tuning": "#F28E7F",
    "p-tuning": "#17A2A8",
    "p-tuning-v2": "#86D3D6",
}

#: For series that are no method (layers, percentiles, data types): colours that no role has.
NEUTRAL = ("#1F2A44", "#E3B505", "#5B5BB8", "#B0BEC5", "#A63C06", "#E056FD")
#: The Trainer's two losses.
LOSSES = {"training": OWN, "validation": "#1F2A44"}

# The first pattern that fits decides, so that "p-tuning v2" is not taken for "p-tuning".
_PATTERNS = tuple(
    (role, re.compile(pattern))
    for role, pattern in (
        ("majority", r"\bmajority\b|\bmost frequent (answer|class|label)\b"),
        ("head", r"\bbase,? (\+|and) .*head\b|\bbase, trained head\b|^(trained |best )?head\b|\blinear (probe|head)\b"),
        ("p-tuning-v2", r"\bp-?tuning-?v2\b"),
        ("p-tuning", r"\bp-?tuning\b"),
        ("prompt-tuning", r"\bprompt-?tuning\b|\bsoft prompt\b"),
        ("prefix-tuning", r"\bprefix-?tuning\b|^prefix\b"),
        ("qlora", r"\bqlora\b"),
        ("adalora", r"\badalora\b"),
        ("rslora", r"\brslora\b"),
        ("dora", r"\bdora\b"),
        ("vera", r"\bvera\b"),
        ("lora", r"\blora\b"),
        ("pfeiffer", r"\bpfeiffer\b"),
        ("adapter", r"\bhoulsby\b|\bbottleneck adapters?\b"),
        ("bitfit", r"\bbitfit\b"),
        ("ia3", r"\(?\bia\)?3"),
        ("ln-tuning", r"\bln-?tuning\b|\blayer-?norm-?tuning\b"),
        ("full", r"^full\b(?!-(precision|size|resolution))|\bfull(y)?-?fine-?tun|\bfull copy\b"),
        ("adapter", r"^adapters?\b|\+ adapter\b|\ban adapter for each\b"),
        ("words", r"^words$|\bbag of words\b"),
        ("base", r"^(the )?((frozen|untrained|plain|bare|pretrained) )?base\b(?! and)|^zero-?shot\b"),
    )
)


def role_of(name: str) -> str | None:
    """The role that a label's words name, or None.

    Args:
        name: A label such as ``"frozen base + trained head"``, ``"(IA)³"`` or ``"full fine-tuning"``.
    """
    text = unicodedata.normalize("NFKC", name).lower().replace("_", "-").strip()  # "³" becomes "3"
    words = re.sub(r"[ -](?=tun|v2|fine|norm|precision|size|resolution)", "-", text).replace("full fine", "full-fine")
    return next((role for role, pattern in _PATTERNS if pattern.search(words)), None)


def own_role(own: str | None = None) -> str | None:
    """The role that is drawn in blue: ``own``, or the method of the lab that this process has opened.

    Raises:
        ValueError: If ``own`` names no method.
    """
    if own is not None:
        role = role_of(own)
        if role is None:
            raise ValueError(f"own={own!r} names no method; the roles are {', '.join(ROLES)}")
        return role
    return role_of(opened_lab.method) if opened_lab.method else None


def role_colour(name: str, own: str | None = None) -> str | None:
    """The colour of what a label names, or None where it names no method or baseline.

    Args:
        name: A label; see :func:`role_of`. ``"own"`` stands for the lab's own method.
        own: The lab's own method; default: that of the opened lab.
    """
    role, blue = role_of(name), own_role(own)
    return OWN if name == "own" or (role and role == blue) else ROLES.get(role or "")


def colours_of(
    names: Iterable[str], own: str | None = None, colours: Mapping[str, str] | None = None, lines: bool = False
) -> list[str]:
    """A colour for each label of one figure.

    Args:
        names: The labels.
        own: The lab's own method; default: that of the opened lab.
        colours: Label -> colour or role (``"own"``, ``"lora"``); goes before what the label's words say.
        lines: Whether labels without a role need a colour each, because only the colour and the dash tell them apart.
            Otherwise (bars, whose names stand beside them) they share one.
    """
    names = list(names)
    given = {name: role_colour(colour, own) or colour for name, colour in (colours or {}).items()}
    found = [given.get(name) or LOSSES.get(name) or role_colour(name, own) for name in names]
    found = _adapter_is_own(names, found, own)
    rest = iter(_free_colours(found))
    one = OWN if not any(found) else NEUTRAL[0]
    return [colour or (next(rest, NEUTRAL[0]) if lines else one) for colour in found]


def _adapter_is_own(names: list[str], found: list[str | None], own: str | None) -> list[str | None]:
    """The word "adapter" alone means the lab's own adapter, unless the figure names the lab's own method elsewhere."""
    blue = own_role(own)
    if not blue or blue == "adapter" or OWN in found:
        return found
    generic = [role_of(name) == "adapter" and "houlsby" not in name.lower() for name in names]
    return [OWN if word else colour for word, colour in zip(generic, found, strict=True)]


def _free_colours(found: list[str | None]) -> list[str]:
    """Colours for labels without a role; blue leads where no label of the figure has a role."""
    return list(NEUTRAL if any(found) else (OWN, *NEUTRAL))
