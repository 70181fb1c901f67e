"""The marks of the five languages: where sentences and clauses end, and what stands in pairs."""

SENTENCE_ENDS = "。！？!?｡．‼⁇⁈⁉।؟"
ELLIPSES = "…‥"
CLAUSE_ENDS = ",，;；:：、､~～—–"
MARKS = frozenset(f".{SENTENCE_ENDS}{ELLIPSES}{CLAUSE_ENDS}")

PAIRS = {
    "(": ")",
    "[": "]",
    "{": "}",
    "“": "”",
    "‘": "’",
    "«": "»",
    "‹": "›",
    "（": "）",
    "［": "］",
    "｛": "｝",
    "「": "」",
    "『": "』",
    "【": "】",
    "〔": "〕",
    "〖": "〗",
    "《": "》",
    "〈": "〉",
    "｢": "｣",
    '"': '"',
    "＂": "＂",
    "'": "'",
}
CLOSERS = frozenset(PAIRS.values())
OPENERS = frozenset(PAIRS)
# Opens and closes alike.
AMBIGUOUS = frozenset("\"'＂")
NEWLINES = "\n\r\v\f\x85\u2028\u2029"
