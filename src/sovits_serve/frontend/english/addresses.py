"""E-mail and web addresses as they are said: "dot", "at", "slash". Step of ``repairs.py``."""

import re

from sovits_serve.frontend.aligned_text import AlignedText

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_\-]{0,62})"
_DOMAIN = rf"(?:{_NAME}\.){{1,8}}"
_KNOWN_ENDS = (
    "com org net edu gov mil int info biz io ai dev app co uk us eu de fr es it nl jp cn kr ru in au ca "
    "tv me html htm php pdf txt py js json csv xml jpg png gif mp exe zip md"
)
_KNOWN_END = rf"(?:{'|'.join(_KNOWN_ENDS.split())})"
_MAIL = re.compile(rf"(?<![\w.+\-])[A-Za-z0-9][\w.+\-]{{0,63}}@{_DOMAIN}[A-Za-z]{{2,13}}\b")
_WEB = re.compile(
    rf"\b(?:https?://|(?=www\.))[\w\-.~:/?#@!$&'*+,;=%]{{1,2000}}|(?<![\w@.\-]){_DOMAIN}{_KNOWN_END}\b"
    r"(?:/[\w\-.~/?#=&%]{0,2000})?"
)
_PROTOCOL = re.compile(r"^https?://")
_END_MARKS = ".,!?;:'"
_SAID = {
    ".": " dot ",
    "/": " slash ",
    "@": " at ",
    "-": " dash ",
    "_": " underscore ",
    "+": " plus ",
    ":": " colon ",
    "?": " ",
    "#": " ",
    "=": " equals ",
    "&": " and ",
    "%": " percent ",
    "~": " tilde ",
}


def spell_addresses(text: AlignedText) -> AlignedText:
    """Write the signs of addresses as words."""
    if "." not in text.text:
        return text
    return text.sub(_MAIL, lambda match: _said(match[0])).sub(_WEB, _web)


def _web(match: re.Match[str]) -> str:
    address = _PROTOCOL.sub("", match[0])
    marks = address[len(address.rstrip(_END_MARKS)) :]
    address = address.removesuffix(marks).rstrip("/")
    if address.startswith("www."):
        return f"W W W{_said(address[3:])}{marks}"
    return f"{_said(address)}{marks}"


def _said(address: str) -> str:
    return "".join(_SAID.get(character, character) for character in address)
