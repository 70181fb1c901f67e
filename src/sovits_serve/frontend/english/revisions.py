"""What the CMU pronouncing dictionary changed after the release that we can depend on.

Checkpoints were trained with the revision of July 2015 and newer words of the public repository; the
package ``pronouncing`` carries an earlier one. Only common words are brought near here, by rules:
endings whose vowel was written anew, compounds made of two known words, and some new words.

Source: CMUdict 0.7b, revision 13083 (Carnegie Mellon University, BSD), as facts about words.
"""

from collections import defaultdict

Phonemes = tuple[str, ...]

# The revision wrote -ted and -ded with IH0 in words with these initials, not in the others.
_REVISED_INITIALS = frozenset("aprstuvwy")
_UNREVISED = frozenset(
    "afforded ahmed profited prohibited projected ragged rested restricted retracted retreated "
    "roasted rooted rounded subpoenaed undulated wicked".split()
)
# What changed in which words: old and new phonemes.
_CHANGES = {
    ("AH0 D", "IH0 D"): (
        "acid acids rapid rapids stupid stupidly vivid placid squalid donated haunted effected "
        "reportedly"
    ),
    ("AH0 S", "IH0 S"): "notice wallace",
    ("AH0 S T", "IH0 S T"): "artist artist's",
    ("AH0 N JH", "IH0 N JH"): "orange oranges",
    ("AH0 Z", "IH0 Z"): "oranges patches spouses successes wedges",
    ("L AH0 V", "L IH0 V"): "olive oliver",
    ("M AH0 N", "M IH0 N"): (
        "terminal terminals terminally terminate terminated terminating termination terminator "
        "domino"
    ),
    ("M AH0 T", "M IH0 T"): "unlimited",
    ("N AH0 T", "N IH0 T"): "units unity",
    ("R AH0", "R IH0"): "recorded reflected regarded receded represented represents",
    ("S AH0 L", "S AA0 L"): "solution solutions",
    ("S AH0 T", "S IH0 T"): "publicity",
    ("T AH0 Z", "T IH0 Z"): "artisan artisans",
    ("P R AH0 S", "P R OW0 S"): "proceeding proceeded",
    ("M AA1 JH", "M AO1 JH"): "module modules modular",
    ("M AA2 JH", "M AO2 JH"): "modulation",
    ("AA2 P TH", "AA2 F TH"): "ophthalmology ophthalmologist ophthalmologists",
    ("P ER0 AH0", "P AH0 R AH0"): "operative operatives",
    ("N Z L", "N S L"): "translated",
}
# The second word of a compound has secondary stress.
_COMPOUNDS = (
    "home+page user+name user+names city+search plug+in file+name screen+shot screen+shots meet+up "
    "hot+mail for+matting web+masters mother+board firm+ware pop+up log+out game+boy smart+phone "
    "smart+phones life+cycle up+loads work+space road+map work+book work+books there+to "
    "stand+alone call+back wave+form wave+forms data+sets sub+routine sub+sets note+pad note+pads "
    "chat+room crawl+er speaker+phone rock+star world+view leader+board leader+boards mac+book "
    "land+line health+wise take+away snow+shoes code+base head+shot winter+green charge+back "
    "jail+break step+mom drop+box row+boats awesome+ness neo+lithic"
)
# Spelled initialisms: the last letter has the stress, or all have.
_LAST_STRESSED = (
    "uk url html pdf md isbn bc hiv sql ce ftp cpu http gm cv cb bp dns gdp fcc oecd ccd cio mri ussr "
    "nmr tlc cit gnp"
)
_ALL_STRESSED = "espn rsvp hsbc usmc"
_NEW_WORDS = """
    advert AE1 D V ER0 T
    algorithmic AE1 L G ER0 IH2 DH AH0 M IH0 K
    anime AE2 N IH0 M EY1
    antivirus AE2 N T IY0 V AY1 R AH0 S
    appendices AH0 P EH1 N D IH0 S IY2 Z
    archived AA1 R K AY2 V D
    asymmetric EY2 S AH0 M EH1 T R IH0 K
    asus EY1 S AH0 S
    bespoke B UH0 S P OW1 K
    bionic B AY2 AO1 N IH0 K
    bot B AO1 T
    bots B AO1 T S
    carb K AA1 R B
    carbs K AA1 R B Z
    chatgpt CH AE1 T JH IY1 P IY1 T IY1
    chomsky CH AA1 M S K IY2
    colours K AH1 L ER0 Z
    conda K AA1 N D AH0
    corinthians K ER0 IH1 N TH IY0 AH0 N Z
    curated K Y UH0 R EY1 T IH0 D
    customizable K AH1 S T AH0 M AY2 Z AH0 B AH0 L
    descriptor D IH0 S K R IH1 P T ER2
    dynamically D AY0 N AE1 M IH0 K L IY2
    embedding EH0 M B EH1 D IH0 NG
    emulator EH1 M Y AH0 L EY2 T ER0
    fibres F AY1 B ER0 Z
    firefox F AY1 ER0 F AO2 K S
    fifa F IH1 F AA0
    fulfil F UH0 L F IH1 L
    git G IH1 T
    gmail JH IY1 M EY2 L
    hz HH ER1 T Z
    identifiers AY0 D EH1 N AH0 F AY2 ER0 Z
    implementations IH2 M P L AH0 M EH0 N T EY1 SH AH0 N Z
    inbox IH1 N B AA2 K S
    inline IH2 N L AY1 N
    jr JH UW1 N Y ER0
    json JH EY1 S AH0 N
    junctions JH AH1 NG K SH AH0 N Z
    login L AO1 G IH2 N
    modelling M AA1 D AH0 L IH2 NG
    modifier M AA1 D AH0 F AY2 ER0
    numerator N UW1 M AH0 R EY2 T ER0
    nvidia EH1 N V IH1 D IY0 AH0
    observational AA2 B Z ER0 V EY1 SH AH0 N AH0 L
    offseason AO1 F S IY1 Z AH0 N
    optimized AA1 P T AH0 M AY2 Z D
    optimizing AA1 P T AH0 M AY2 Z IH0 NG
    paypal P EY1 P AH2 L
    playlist P L EY1 L IH0 S T
    playlists P L EY1 L IH0 S T S
    plugins P L AH1 G IH0 N Z
    pokemon P OW1 K EY0 M AH0 N
    polynomials P AA2 L IY2 N OW1 M IY0 AH0 L Z
    predefined P R IY2 D IH0 F AY1 N D
    quadratic K W AA0 D R AA1 T IH0 K
    recursive R IY2 K ER1 S IH0 V
    scalability S K EY1 L AH0 B IH1 L IH0 T IY0
    scrolling S K R OW1 L IH0 NG
    separator S EH1 P AH0 R EY2 T ER0
    sirius S IH1 R IH2 AH0 S
    spamming S P AE1 M IH0 NG
    st S T R IY1 T
    symmetric S AH0 M EH1 T R IH0 K
    synchronous S IH1 NG K R AH0 N AH0 S
    synonyms S IH1 N AH0 N IH2 M S
    taxonomy T AE2 K S AO1 N AH0 M IY2
    templates T EH1 M P L AH0 T S
    terminus T ER1 M IH0 N AH0 S
    theorems TH IH1 R AH0 M Z
    timezone T AY1 M Z OW1 N
    tolkien T AO1 L K IY0 EH2 N
    trainings T R EY1 N IH0 NG Z
    troubleshoot T R AH1 B AH0 L SH UW2 T
    troubleshooting T R AH1 B AH0 L SH UW2 T IH0 NG
    tweets T W IY1 T S
    walkthrough W AO1 K TH R AW0
    webpage W EH1 B P IH0 JH
    wishlist W IH1 SH L IH0 S T
    wordpress W ER1 D P R IH0 S
    workaround W ER1 K ER0 AW1 N D
    xbox EH1 K S B AA2 K S
"""


def _by_word() -> dict[str, list[tuple[str, str]]]:
    changes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for change, words in _CHANGES.items():
        for word in words.split():
            changes[word].append(change)
    return dict(changes)


_CHANGES_OF = _by_word()
COMPOUNDS = {pair.replace("+", ""): tuple(pair.split("+")) for pair in _COMPOUNDS.split()}
INITIALISMS = dict.fromkeys(_LAST_STRESSED.split(), True) | dict.fromkeys(
    _ALL_STRESSED.split(), False
)
NEW_WORDS = {
    word: tuple(phonemes.split())
    for word, _, phonemes in (
        line.strip().partition(" ") for line in _NEW_WORDS.strip().split("\n")
    )
}


def revised(word: str, phonemes: Phonemes) -> Phonemes:
    """Return what the revision says of a word, from what the release before it says."""
    if (
        phonemes[-2:] == ("AH0", "D")
        and word.endswith("ed")
        and word[0] in _REVISED_INITIALS
        and word not in _UNREVISED
    ):
        phonemes = (*phonemes[:-2], "IH0", "D")
    if word not in _CHANGES_OF:
        return phonemes
    said = f"{' '.join(phonemes)} "
    for old, new in _CHANGES_OF[word]:
        said = said.replace(f"{old} ", f"{new} ")
    return tuple(said.split())


def without_primary_stress(phonemes: Phonemes) -> Phonemes:
    """Return the phonemes of the second word of a compound."""
    return tuple(phoneme.replace("1", "2") for phoneme in phonemes)
