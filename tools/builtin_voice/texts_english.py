"""English words and sentence patterns of the training text.

A pattern names slots in braces; what fills a slot may have slots itself. All words are in the CMU
pronouncing dictionary, and words that are read in two ways ("live", "wind") are avoided.
"""

PHRASES = tuple(
    phrase.strip()
    for phrase in """
    Hello.|Hello there.|Good morning.|Good afternoon.|Good evening.|Good night.|Thank you.
    Thank you very much.|Thanks a lot.|You are welcome.|Excuse me.|I am sorry.|Sorry about that.
    No problem.|Never mind.|Of course.|Of course not.|Why not?|What happened?|What is it?
    Who is there?|How are you?|How are you today?|How have you been?|I am fine, thank you.
    Nice to meet you.|See you later.|See you soon.|See you tomorrow.|Take care.|Take care of yourself.
    Good luck!|Well done!|Congratulations to you all!|Happy birthday!|Happy new year!|Cheers, everyone!
    Come in, please.|Sit down, please.|Please wait.|Just a moment, please.|One moment.|Hurry up!
    Watch out!|Be careful!|Stop it!|Go away!|Help me!|Help yourself.|Look at that!|Listen to me.
    Let me see.|Let us go.|Let us begin.|Here we go.|Here you are.|There it is.|That is all.
    That is right.|That is wrong.|That is enough.|That sounds good.|That would be lovely.|Sounds great!
    I think so.|I hope so.|I hope not.|I doubt it.|I know that.|I do not know.|I do not care.
    I have no idea.|I understand.|I do not understand.|I agree with you.|I changed my mind.
    Are you sure?|Are you ready?|Are you serious?|Is that true?|Really, now?|Can you hear me?
    Can I help you?|Could you repeat that?|Could you speak more slowly, please?|Say that again.
    What time is it?|What is your name?|Where are you from?|Where do you work?|How old are you?
    How much is this?|How far is it?|How long does it take?|Which way is it?|Whose bag is this?
    It is raining.|It is snowing.|It is too late.|It is too early.|It is up to you.|It depends.
    It does not matter.|It was my fault.|It works!|It is getting dark outside.|What a day!
    What a surprise!|What a shame!|What a beautiful view!|How wonderful!|How strange!|Not yet.
    Not at all.|Not today, thanks.|Maybe later.|Maybe next time.|Absolutely not!|Yes, please.
    No, thank you.|Yes and no.|Yes, I can.|No, I cannot.|All right.|All right, then.|Very well.
    As you wish.|As soon as possible.|By the way.|Once upon a time.|Step by step.|Day after day.
    Sooner or later.|Last but not least.|Ladies and gentlemen!|Dear friends.|My pleasure.
    Welcome back.|Welcome home.|Have a nice day.|Have a good trip.|Have a seat.|Enjoy your meal.
    Sleep well.|Get well soon.|Keep going.|Keep quiet, please.|Turn left.|Turn right.|Go straight ahead.
    Call me back.|Call the police!|Leave me alone.|Follow me.|Trust me.|Forget it.|Guess what!
    I beg your pardon.|I would love to.|I am on my way.|I am hungry.|I am thirsty.|I am so tired.
    Long time no see.|Better late than never.|So far, so good.|Easy does it.|Out of order.
    Please hold the line.|The line is busy.|Thank you for calling.|Thanks for your help.
    Time is up.|Everything is fine.|Nothing has changed.|Nobody knows.|Anything else?|And then what?
    """.strip()
    .replace("\n", "|")
    .split("|")
)

_NOUNS = """
apple orange lemon banana cherry potato onion carrot tomato mushroom cookie sandwich pancake biscuit
table chair window door floor ceiling mirror carpet pillow blanket curtain candle lamp bottle cup plate
spoon kettle basket bucket hammer ladder needle button zipper jacket sweater shirt skirt shoe boot
glove scarf hat helmet umbrella wallet ticket passport suitcase camera telephone computer keyboard
screen printer battery engine wheel bicycle truck train boat airplane rocket bridge tower castle
garden fountain statue picture painting poster letter postcard envelope stamp newspaper magazine book
notebook pencil brush ruler map clock watch bell drum guitar piano violin trumpet flute song
poem story chapter lesson question answer problem puzzle secret promise dream idea plan reason
message report contract budget machine robot tool toy puppet balloon kite ball coin jewel ring
necklace crown sword shield flag tree flower leaf branch root seed mountain river valley island
beach desert forest meadow cloud rainbow shadow stone rock feather egg nest cage fence gate wall roof
chimney oven stove fridge freezer sink towel sponge pocket ribbon rope chain hook key lock box parcel
gift prize medal trophy recipe menu bill receipt voice noise signal light fire flame bubble
""".split()
_ANIMALS = """
dog cat horse cow pig goat chicken duck turkey rabbit mouse squirrel fox bear lion tiger
elephant giraffe monkey zebra camel donkey dolphin whale shark turtle frog snake lizard spider beetle
butterfly bee eagle owl parrot penguin pigeon swan crow beaver badger puppy kitten lamb
""".split()
_PEOPLE = """
teacher doctor nurse farmer baker butcher driver pilot sailor soldier captain lawyer judge
banker singer dancer actor writer poet painter drummer engineer scientist student professor
neighbor stranger visitor guest friend cousin uncle aunt brother sister mother father grandmother
grandfather daughter boy girl child woman man gentleman king queen prince princess wizard
knight giant waiter manager director customer tourist traveler hunter fisherman gardener plumber
carpenter mechanic dentist policeman journalist photographer librarian musician swimmer runner
""".split()
_ADJECTIVES = """
small large big huge tiny tall short long wide narrow deep shallow thick thin heavy light
quick slow fast early late new old young fresh ripe sweet sour bitter salty spicy hot cold warm cool
wet dry clean dirty bright dark pale red green blue yellow purple brown black white gray golden silver
wooden broken empty full open hidden quiet loud noisy calm gentle rough smooth soft hard sharp
round square flat strange funny serious clever foolish brave shy proud humble happy sad angry
hungry thirsty tired lazy busy careful careless honest friendly cheerful gloomy lucky famous
ordinary special rare common modern ancient cheap expensive precious useless useful valuable dangerous
safe simple difficult easy curious mysterious magic royal wild tame strong weak healthy sick
beautiful ugly pretty handsome lovely charming enormous delicious terrible wonderful excellent
familiar foreign local private public secret sudden gigantic fluffy shiny muddy dusty rusty frozen
""".split()
_ADVERBS = """
quickly slowly quietly loudly carefully gently suddenly finally happily sadly angrily
bravely calmly easily nearly always never often sometimes usually rarely eagerly gladly
politely proudly silently softly warmly wisely badly clearly completely secretly patiently nervously
perfectly immediately accidentally deliberately cheerfully gracefully honestly anxiously
""".split()
_NAMES = """
Anna Alice Emma Julia Laura Maria Nancy Olivia Paula Rachel Sarah Susan Helen Grace
Peter Paul Thomas Michael David Daniel George Henry Jack James John Kevin Martin Oliver Robert
Simon Steven Victor Walter William Frank Charles Edward Arthur Andrew Anthony Barbara Betty Carol
Catherine Diana Dorothy Eleanor Emily Frances Gloria Hannah Irene Jennifer Jessica Joanna Karen Linda
Lucy Margaret Martha Monica Nicole Patricia Rebecca Rose Sandra Sophie Teresa Vanessa Veronica
Adam Albert Benjamin Brian Christopher Dennis Douglas Eric Felix Gregory Harold Isaac Jason Jeremy
Jonathan Joshua Kenneth Lawrence Leonard Louis Matthew Nathan Nicholas Patrick Philip Raymond Richard
Samuel Stanley Theodore Timothy Vincent
""".split()
_CITIES = """
London Paris Berlin Madrid Rome Vienna Dublin Lisbon Athens Moscow Prague Warsaw Stockholm
Boston Chicago Denver Dallas Houston Seattle Toronto Montreal Vancouver Sydney Melbourne Tokyo Beijing
Shanghai Bangkok Singapore Delhi Cairo Nairobi Lagos Lima Havana Miami Philadelphia Pittsburgh
Norway Sweden Finland Denmark Scotland Ireland England France Germany Italy Spain Portugal Greece
Egypt Kenya India China Japan Korea Vietnam Thailand Australia Canada Mexico Brazil Argentina Chile
Texas Florida Oregon Alaska Virginia Georgia Vermont Hawaii
""".split()
_SPOTS = """
kitchen bedroom bathroom garage cellar attic hallway office school library museum theater
station airport harbor hospital hotel restaurant bakery market supermarket shop factory bank church
temple park zoo farm village city street corner river lake forest garden yard field mountain valley
island beach desert tunnel bridge castle palace tower stadium playground classroom laboratory
elevator basement courtyard cafeteria lighthouse
""".split()
_TRANSITIVE = """
find|found|finding buy|bought|buying sell|sold|selling take|took|taking bring|brought|bringing
see|saw|seeing hear|heard|hearing make|made|making break|broke|breaking catch|caught|catching
choose|chose|choosing draw|drew|drawing forget|forgot|forgetting give up|gave up|giving up
hide|hid|hiding hold|held|holding keep|kept|keeping lose|lost|losing steal|stole|stealing
throw away|threw away|throwing away borrow|borrowed|borrowing carry|carried|carrying
clean|cleaned|cleaning collect|collected|collecting count|counted|counting cover|covered|covering
damage|damaged|damaging describe|described|describing destroy|destroyed|destroying
discover|discovered|discovering enjoy|enjoyed|enjoying examine|examined|examining fix|fixed|fixing
follow|followed|following help|helped|helping ignore|ignored|ignoring join|joined|joining
like|liked|liking love|loved|loving measure|measured|measuring mention|mentioned|mentioning
move|moved|moving need|needed|needing notice|noticed|noticing paint|painted|painting
pass|passed|passing pick up|picked up|picking up push|pushed|pushing pull|pulled|pulling
recognize|recognized|recognizing remember|remembered|remembering remove|removed|removing
repair|repaired|repairing replace|replaced|replacing return|returned|returning save|saved|saving
search for|searched for|searching for share|shared|sharing show|showed|showing
study|studied|studying touch|touched|touching trust|trusted|trusting understand|understood|understanding
visit|visited|visiting wash|washed|washing watch|watched|watching
admire|admired|admiring check|checked|checking hate|hated|hating invite|invited|inviting
order|ordered|ordering photograph|photographed|photographing polish|polished|polishing
""".replace("\n", " ")
_INTRANSITIVE = """
laughed|cried|slept|waited|smiled|sang|danced|walked home|ran away|fell asleep|woke up|sat down
stood up|jumped|swam|stayed|left|arrived|disappeared|came back|looked around|turned around|sneezed
coughed|whispered|shouted|worked|played|traveled|listened|nodded|shivered|trembled|vanished|gave up
""".strip().replace("\n", "|")
_ONES = "one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = """
first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth
""".split()
_ORDINALS += [f"twenty {ordinal}" for ordinal in _ORDINALS[:9]]


def _verbs() -> list[list[str]]:
    """Return base, past and -ing form of each transitive verb."""
    forms: list[list[str]] = []
    parts = _TRANSITIVE.split("|")  # base | past | ing base | past | ing base ...
    base = parts[0].strip()
    for past, rest in zip(parts[1::2], parts[2::2], strict=True):
        words = rest.split()
        end = 2 if len(words) > 1 and words[1] in {"up", "away", "for"} else 1
        forms.append([base, past, " ".join(words[:end])])
        base = " ".join(words[end:])
    return forms


def _plural(noun: str) -> str:
    irregular = {"leaf": "leaves", "mouse": "mice", "knife": "knives"}
    if noun in irregular:
        return irregular[noun]
    if noun[-1] == "y" and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("s", "x", "ch", "sh", "tomato", "potato")):
        return noun + "es"
    return noun + "s"


_VERBS = _verbs()

SLOTS: dict[str, list[str]] = {
    "noun": _NOUNS,
    "nouns": [_plural(noun) for noun in _NOUNS],
    "animal": _ANIMALS,
    "animals": [_plural(animal) for animal in _ANIMALS],
    "person": _PEOPLE,
    "adj": _ADJECTIVES,
    "adv": _ADVERBS,
    "name": _NAMES,
    "city": _CITIES,
    "spot": _SPOTS,
    "do": [forms[0] for forms in _VERBS],
    "did": [forms[1] for forms in _VERBS],
    "doing": [forms[2] for forms in _VERBS],
    "acted": _INTRANSITIVE.split("|"),
    "one": _ONES,
    "teen": _TEENS,
    "ten": _TENS,
    "ordinal": _ORDINALS,
    "two_up": [*_ONES[1:], *_TEENS, *_TENS],
    "number": [
        "{one}",
        "{teen}",
        "{ten}",
        "{ten} {one}",
        "{ten} {one}",
        "{one} hundred",
        "{one} hundred and {ten} {one}",
        "{one} thousand",
        "{one} thousand {one} hundred",
        "{ten} thousand",
        "{one} million",
        "zero",
    ],
    "month": "January February March April May June July August September October November "
    "December".split(),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "year": ["nineteen {ten} {one}", "twenty {teen}", "two thousand {one}", "eighteen {ten} {one}"],
    "clock": [
        "half past {hour}",
        "a quarter to {hour}",
        "a quarter past {hour}",
        "{hour} o'clock",
        "{hour} {ten_minutes}",
        "{hour} in the morning",
        "{hour} in the afternoon",
    ],
    "hour": [*_ONES, "ten", "eleven", "twelve"],
    "ten_minutes": ["fifteen", "twenty", "thirty", "forty five", "ten", "fifty"],
    "when": [
        "yesterday",
        "today",
        "last night",
        "last week",
        "last {day}",
        "in {month}",
        "on {day}",
        "two days ago",
        "{two_up} years ago",
        "this morning",
        "in the evening",
        "at midnight",
        "at {clock}",
        "on {day} morning",
        "in the summer of {year}",
        "before breakfast",
        "after dinner",
        "all day long",
        "every winter",
        "once again",
    ],
    "where": [
        "in the {spot}",
        "near the {spot}",
        "behind the {spot}",
        "at the {adj} {spot}",
        "in front of the {spot}",
        "next to the {spot}",
        "not far from {city}",
        "in {city}",
        "outside the {spot}",
        "under the {noun}",
        "between the {noun} and the {noun}",
        "over there",
        "on the way to {city}",
        "across the street",
    ],
    "whose": ["my", "your", "his", "her", "our", "their", "the", "this", "that", "the", "every"],
    "who": [
        "I",
        "we",
        "they",
        "she",
        "he",
        "you",
        "{name}",
        "{name}",
        "{name} and {name}",
        "{whose} {person}",
        "the {adj} {person}",
        "the {animal}",
        "the {adj} {animal}",
        "nobody",
        "everyone",
        "somebody",
        "{name}'s {person}",
        "both of them",
    ],
    "what": [
        "the {noun}",
        "{whose} {noun}",
        "{whose} {adj} {noun}",
        "the {adj} {noun}",
        "some {nouns}",
        "{two_up} {nouns}",
        "{two_up} {adj} {nouns}",
        "{whose} {animal}",
        "the {adj} {animals}",
        "another {noun}",
        "the {person}",
        "the {noun} and the {noun}",
        "{name}'s {noun}",
        "all the {nouns}",
    ],
    "clause": [
        "{who} {did} {what}",
        "{who} {did} {what}",
        "{who} {did} {what} {where}",
        "{who} {did} {what} {when}",
        "{who} {acted}",
        "{who} {adv} {did} {what}",
        "{who} {acted} {where}",
        "{who} could not {do} {what}",
        "the {noun} was {adj}",
        "the {noun} {where} was {adj}",
        "{who} wanted to {do} {what}",
        "there was a {noun_a} {where}",
    ],
    "noun_a": [noun for noun in [*_NOUNS, *_ANIMALS] if noun[0] not in "aeiou"],
    "modal": ["can", "will", "should", "must", "may", "might", "could", "would", "will never"],
    "feel": ["hope", "think", "believe", "know", "suppose", "am afraid", "am sure", "heard"],
}

# Pairs of a weight and a pattern.
PATTERNS: tuple[tuple[int, str], ...] = (
    (10, "{clause}."),
    (4, "{when}, {clause}."),
    (4, "{clause}, and {clause}."),
    (4, "{clause}, but {clause}."),
    (3, "when {clause}, {clause}."),
    (3, "because {clause}, {clause}."),
    (2, "although {clause}, {clause}, and {clause}."),
    (3, "{clause} while {clause}."),
    (3, "{who} {modal} {do} {what}."),
    (2, "{who} {modal} {do} {what} {where}, if {clause}."),
    (3, "did {who} {do} {what}?"),
    (2, "did {who} really {do} {what} {where}?"),
    (2, "why did {who} {do} {what}?"),
    (2, "where did {who} {do} {what}?"),
    (2, "how many {nouns} did {who} {do}?"),
    (2, "can you {do} {what} for me, please?"),
    (2, "would you like to {do} {what} {where}?"),
    (2, "who {did} {what} {when}?"),
    (2, "which {noun} is {adj}?"),
    (2, "is this {noun} {adj} or {adj}?"),
    (2, "have you ever been to {city}, {name}?"),
    (2, "what a {noun_a}!"),
    (2, "what {adj} {nouns}!"),
    (1, "how {adj}!"),
    (2, "{do} {what}!"),
    (2, "please {do} {what}."),
    (2, "do not {do} {what}, {name}!"),
    (2, "do not forget to {do} {what}."),
    (1, "hello, {name}."),
    (1, "good morning, {name}."),
    (1, "thank you for the {noun}, {name}."),
    (1, "goodbye, {name}, and thank you for {doing} {what}."),
    (1, "welcome to {city}!"),
    (1, "{name}?"),
    (2, "{adj} {nouns}."),
    (1, "the {noun}."),
    (2, "{what}, please."),
    (2, "{doing} {what} is {adj}."),
    (2, "{who} started {doing} {what} {when}."),
    (2, "I {feel} that {clause}."),
    (2, "{name} said that {clause}."),
    (1, '"{clause}," said {name}.'),
    (2, "it takes {number} minutes from {city} to {city}."),
    (2, "the {noun} costs {number} dollars."),
    (2, "my number is {one} {one} {one}, {one} {one} {one} {one}."),
    (2, "today is {day}, the {ordinal} of {month}."),
    (1, "{month} {ordinal}, {year}."),
    (2, "the train to {city} leaves at {clock}."),
    (1, "it is {clock}."),
    (1, "{number} plus {number} is {number}."),
    (1, "{number}."),
    (2, "the temperature in {city} is {number} degrees."),
    (1, "{name} was born in {year} in {city}."),
    (2, "{who} bought {nouns}, {nouns}, {nouns} and {nouns}."),
    (2, "the {noun} is {adj}, the {noun} is {adj}, and the {noun} is {adj}."),
    (2, "this {noun} is more {adj} than that {adj} {noun}."),
    (2, "if you {do} {what}, {who} will {do} {what}."),
    (2, "the {person} who {did} {what} was {adj} and {adj}."),
    (2, "{adv}, {who} {did} {what}."),
    (2, "well, {clause}, of course."),
    (1, "no, {clause}."),
    (1, "yes, {clause}."),
    (2, "there are {number} {nouns} {where}."),
    (2, "neither the {person} nor the {animal} {did} {what}."),
    (2, "after {doing} {what}, {who} {acted} {where}."),
    (2, "let us {do} {what} together {where}."),
)
