"""Says whether a word with two readings is a noun, a verb or an adjective where it stands.

A few rules on the words around it, for the words of the homograph table only; no trained model.
Tags are those of the Penn Treebank as far as readings depend on them; other words get "".
"""

from collections.abc import Callable, Container, Sequence

# Takes the words and marks of a sentence, gives a tag for each.
Tagger = Callable[[Sequence[str]], Sequence[str]]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_DETERMINERS = _set(
    "a an the this that these those my your his her its our their whose some any no every each "
    "another either neither what which such much many more most all both few several enough other "
    "one two three four five six seven eight nine ten"
)
_POSSESSIVES = _set("my your his her its our their whose")
_OBJECT_STARTS = _set(
    "a an the this that these those my your his its our their him her it them me us you some any "
    "every each all both one two three four five six ten more many much yourself himself herself themselves myself ourselves itself what how"
)
_PREPOSITIONS = _set(
    "of in on at for with from by about into onto over under after before between among during "
    "without within through against toward towards upon across behind beyond per as like than via "
    "despite beside near until since"
)
_SUBJECTS_PLURAL = _set("i you we they who people")
_SUBJECTS_SINGULAR = _set("he she it who which nobody everybody someone everyone nothing")
_BEFORE_VERBS = _set(
    "to can could will would shall should may might must cannot can't couldn't won't wouldn't "
    "shouldn't mustn't don't doesn't didn't do does did let let's please help helped i'll you'll "
    "he'll she'll it'll we'll they'll i'd you'd he'd she'd we'd they'd didnt dont cant wont who'll"
)
_BE = _set(
    "be am is are was were been being i'm you're he's she's it's we're they're isn't aren't "
    "wasn't weren't that's there's"
)
_HAVE = _set("have has had having i've you've we've they've haven't hasn't hadn't")
_LINKING = _set(
    "get gets got getting stay stays stayed come comes came coming stand stands stood sit sits sat "
    "keep keeps kept remain remains remained seem seems seemed feel feels felt look looks looked "
    "become becomes became go goes went going draw draws drew drawn lie lay"
)
_DEGREES = _set(
    "too so very how as quite rather pretty fairly more most less really extremely "
    "almost nearly equally dangerously perfectly uncomfortably"
)
_SKIPPED = _set(
    "not never always also just still only even often ever already soon sometimes "
    "usually rarely now then both all n't hardly seldom once again probably simply"
)
_JOINTS = _set("and or but then , . ! ? - so nor")
_QUESTION_HELPERS = _set(
    "do does did can could will would should may might must shall don't "
    "didn't doesn't can't couldn't won't wouldn't shouldn't"
)
_PAST_HINTS = _set(
    "yesterday ago last once when had was were said told knew did earlier previously before "
    "finished found thought loved wrote asked"
)
_PRESENT_HINTS = _set(
    "every usually often always sometimes rarely never seldom now today daily nowadays generally "
    "regularly aloud if when"
)
# What comes behind a subject, not behind its verb.
_ENDS_OF_SUBJECTS = _set(
    ". , ! ? - of and or is are was were has have had will would can could may might must should do "
    "does did that which who whose"
)
_KINDS_OF_READ = _set("good great quick interesting long easy enjoyable")
_MOSTLY_VERBS = _set("closes refuses")
_METAL = _set(
    "pipe pipes poisoning paint bullet bullets shot crystal acid content levels exposure "
    "weights glass batteries battery apron roof"
)
_BEFORE_METAL = _set("molten heavy liquid like contains containing containing contain melted pure")
_LIVE_EVENTS = _set(
    "go goes went going gone broadcast broadcasts broadcasting stream streams streamed streaming "
    "perform performs performed performing play plays played playing sing sang sings watch watched "
    "aired airing recorded on-air appear appeared"
)
_LIVE_NOUNS = _set(
    "music show shows concert concerts album audience audiences band bands broadcast broadcasts "
    "broadcasting performance performances stream streams streaming event events television tv "
    "coverage wire wires animals animal bait ammunition chat feed footage version recording news "
    "sports updates stage cattle sheep birds entertainment demo"
)


# How far a word may be that tells the tense.
_WINDOW = 20


class RuleTagger:
    """Tags the given words by the words around them."""

    def __init__(self, homographs: Container[str]) -> None:
        self._homographs = homographs

    def __call__(self, words: Sequence[str]) -> list[str]:
        """Return a tag for each word."""
        lower = [word.lower() for word in words]
        return [
            _Place(lower, index).tag() if word in self._homographs else ""
            for index, word in enumerate(lower)
        ]


class _Place:
    """A word and what stands around it; adverbs before it are passed over."""

    def __init__(self, words: Sequence[str], index: int) -> None:
        self.words = words
        self.index = index
        self.word = words[index]
        self.after = words[index + 1] if index + 1 < len(words) else ""
        before = index - 1
        while before >= 0 and _is_adverb(words[before]):
            before -= 1
        self.before_index = before
        self.before = words[before] if before >= 0 else ""
        self.helper = words[before - 1] if before > 0 else ""  # of a question: "do you read"
        self.just_before = words[index - 1] if index else ""

    def tag(self) -> str:
        """Return the tag."""
        special = _SPECIAL.get(self.word)
        if special:
            return special(self)
        if self.word.endswith("ing"):
            return "NN" if self.is_noun_place() else "VBG"
        if self.word.endswith("ed"):
            return self.participle()
        if self.word.endswith("s") and not self.word.endswith("ss"):
            return "VBZ" if self.is_verb(_SUBJECTS_SINGULAR) else "NNS"
        return "VB" if self.is_verb(_SUBJECTS_PLURAL) else "NN"

    def is_base_verb(self) -> bool:
        """Return whether only the base form of a verb can stand here."""
        if self.before in _BEFORE_VERBS:
            return True
        return self.is_after_subject() and self.helper in _QUESTION_HELPERS

    def is_after_subject(self) -> bool:
        """Return whether a pronoun that can be a subject stands before."""
        return self.before in _SUBJECTS_PLURAL | _SUBJECTS_SINGULAR

    def is_first(self) -> bool:
        """Return whether a clause begins here."""
        return not self.before or self.before in _JOINTS

    def is_near(self, words: Container[str]) -> bool:
        """Return whether one of the words stands shortly before."""
        return any(word in words for word in self.words[max(0, self.index - 5) : self.index])

    def is_noun_place(self) -> bool:
        return (
            self.before in _DETERMINERS
            or self.before.endswith("'s")
            or self.before in _PREPOSITIONS
            or self.after in {"of", "is", "was", "are", "were", "has", "had", "will"}
        )

    def is_verb(self, subjects: Container[str]) -> bool:
        if self.just_before in _DEGREES or self.before in _LINKING or self.before in _BE:
            return False
        if self.is_base_verb() or self.before in subjects:
            return self.after != "of"
        if self.before == "that" and self.after in _OBJECT_STARTS:
            return True
        if self.is_noun_place():
            return False
        if self.is_first():
            return self.after in _OBJECT_STARTS or self.joins_verbs()
        return self.after in _OBJECT_STARTS or self._follows_its_subject()

    def _follows_its_subject(self) -> bool:
        """Return whether a noun stands before that this can be the verb of: "Farmers produce"."""
        if self.word in _MOSTLY_VERBS:
            return True
        ends_here = self.after in _ENDS_OF_SUBJECTS or not self.after
        return _is_plural(self.before) and not self.word.endswith("s") and not ends_here

    def joins_verbs(self) -> bool:
        """Return whether "and" joins this to a verb that a helper came before: "to x and y"."""
        if self.before not in {"and", "or", "then"}:
            return False
        earlier = self.words[max(0, self.before_index - 5) : self.before_index]
        return any(word in _BEFORE_VERBS for word in earlier)

    def participle(self) -> str:
        if self.before in _BE or self.before in _HAVE or self.after in {"by", "in", "for", "as"}:
            return "VBN"
        if self.before in _DETERMINERS:
            return "JJ"
        return "VBD"


def _is_adverb(word: str) -> bool:
    return word in _SKIPPED or (word.endswith("ly") and len(word) > 4)


def _is_plural(word: str) -> bool:
    return len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))


def _read(place: _Place) -> str:
    if place.is_after_subject() and place.helper in _HAVE:
        return "VBN"  # "have you read"
    if place.is_base_verb() or place.just_before in _KINDS_OF_READ:
        return "VB"
    if place.before in _HAVE or place.before in _BE or place.just_before in {"widely", "well"}:
        return "VBN"
    if place.is_first() and place.before not in {"and", "but"}:
        return "VB"
    if place.before in _DETERMINERS:
        return "VB"  # "a good read"
    around = set(place.words[max(0, place.index - _WINDOW) : place.index + _WINDOW])
    if place.before in _SUBJECTS_PLURAL or _is_plural(place.before):
        if around & _PAST_HINTS and not around & _PRESENT_HINTS:
            return "VBD"
        is_definite = place.after in _OBJECT_STARTS and not around & _PRESENT_HINTS
        return "VBD" if is_definite else "VBP"
    return "VB" if place.joins_verbs() else "VBD"


def _used(place: _Place) -> str:
    if place.after != "to":
        return place.participle()
    what = place.words[place.index + 2] if place.index + 2 < len(place.words) else ""
    is_habit = what in _OBJECT_STARTS or what.endswith("ing")
    return "VBN" if place.before in _BE and not is_habit else "MD"


def _lead(place: _Place) -> str:
    if place.after in _METAL or place.just_before in _BEFORE_METAL:
        return "METAL"
    if place.just_before in {"of", "with", "from"} and place.after in {"", ".", ",", "and", "or"}:
        return "METAL"
    return "VB" if place.is_verb(_SUBJECTS_PLURAL) else "NN"


def _live(place: _Place) -> str:
    if place.is_base_verb() or place.before in _SUBJECTS_PLURAL:
        return "VB"
    if place.after in _LIVE_NOUNS:
        return "JJ"
    if place.after in {"on", "from"} and place.is_near(_LIVE_EVENTS):
        return "JJ"
    if place.before in _DETERMINERS | _BE | _LIVE_EVENTS | _PREPOSITIONS:
        return "JJ"
    return "VB"


def _lives(place: _Place) -> str:
    if place.before in _SUBJECTS_SINGULAR:
        return "VBZ"
    if place.is_noun_place() or place.before in _BEFORE_VERBS | {"save", "saved", "lose", "lost"}:
        return "NNS"
    return "VBZ" if place.after in {"in", "with", "on", "at", "here", "there", "near"} else "NNS"


def _content(place: _Place) -> str:
    is_adjective = place.before in _BE | _LINKING | _DEGREES or place.just_before in _DEGREES
    return "JJ" if is_adjective or place.after in {"with", "to"} else "NN"


def _complex(place: _Place) -> str:
    is_noun = place.before in _DETERMINERS and place.after in {
        "",
        ".",
        ",",
        "of",
        "is",
        "was",
        "in",
    }
    return "NN" if is_noun else "JJ"


_SPECIAL: dict[str, Callable[[_Place], str]] = {
    "closer": lambda _: "JJR",
    "complex": _complex,
    "content": _content,
    "lead": _lead,
    "live": _live,
    "lives": _lives,
    "read": _read,
    "used": _used,
}
