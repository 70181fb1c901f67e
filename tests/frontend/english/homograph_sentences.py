"""Sentences with a marked homograph, and how it is said in each: written for these tests.

A ``*`` stands before the word; the phonemes are those of the reading that a person would choose.
"""

SENTENCES = """
She will *present the results tomorrow. | P R IY0 Z EH1 N T
He gave me a lovely *present. | P R EH1 Z AH0 N T
At *present we have no news. | P R EH1 Z AH0 N T
The doctor *presents three cases. | P R IY0 Z EH1 N T S
The children opened their *presents. | P R EH1 Z AH0 N T S
We *record every meeting. | R IH0 K AO1 R D
That was a new world *record. | R EH1 K ER0 D
They want to *record an album. | R IH0 K AO1 R D
Please check the *records of the patient. | R EH1 K ER0 D Z
Please *close the window. | K L OW1 Z
They live *close to the station. | K L OW1 S
It was a *close game. | K L OW1 S
Don't *close your eyes. | K L OW1 Z
She is a *close friend of mine. | K L OW1 S
The shop *closes at nine. | K L OW1 Z IH0 Z
*Close the door behind you! | K L OW1 Z
You can *use my phone. | Y UW1 Z
There is no *use crying. | Y UW1 S
The *use of force was wrong. | Y UW1 S
*Use a sharp knife. | Y UW1 Z
She never *uses the lift. | Y UW1 Z IH0 Z
The tool has many *uses. | Y UW1 S IH0 Z
He *used a hammer. | Y UW1 Z D
We *used to play chess. | Y UW1 S T
The method is *used in schools. | Y UW1 Z D
I am not *used to the noise. | Y UW1 S T
I have *read that book twice. | R EH1 D
Can you *read this letter? | R IY1 D
She *read the letter and cried. | R EH1 D
I *read the newspaper every morning. | R IY1 D
He was *read a story. | R EH1 D
*Read the instructions first. | R IY1 D
I *read it yesterday. | R EH1 D
They *object to the plan. | AH0 B JH EH1 K T
A strange *object fell from the sky. | AA1 B JH EH0 K T
The *objects on the table are old. | AA1 B JH EH0 K T S
What is the *subject of this letter? | S AH1 B JH IH0 K T
I would not *subject you to that. | S AH0 B JH EH1 K T
Farmers *produce milk and cheese. | P R AH0 D UW1 S
We buy local *produce at the market. | P R OW1 D UW0 S
We *live in a small town. | L IH1 V
It was a *live concert. | L AY1 V
They watched the match *live on television. | L AY1 V
Where do you *live? | L IH1 V
He *lives in Berlin. | L IH1 V Z
It saved many *lives. | L AY1 V Z
The *lead pipe was heavy. | L EH1 D
She will *lead the team. | L IY1 D
Our team took the *lead. | L IY1 D
The *wind was cold. | W IH1 N D
I have to *wind the clock. | W AY1 N D
A *tear rolled down her cheek. | T IH1 R
Don't *tear the paper. | T EH1 R
The company will *increase prices. | IH2 N K R IY1 S
An *increase in prices followed. | IH1 N K R IY2 S
The soldiers left the *desert. | D EH1 Z ER0 T
They would never *desert their friends. | D IH0 Z ER1 T
She had the perfect *excuse. | IH0 K S K Y UW1 S
Please *excuse me. | IH0 K S K Y UW1 Z
I *refuse to answer. | R IH0 F Y UW1 Z
The *refuse is collected on Monday. | R EH1 F Y UW2 Z
He signed the *contract. | K AA1 N T R AE2 K T
Metals *contract when they cool. | K AH0 N T R AE1 K T
Her *conduct was excellent. | K AA1 N D AH0 K T
He will *conduct the orchestra. | K AA0 N D AH1 K T
We need a *permit to park here. | P ER1 M IH2 T
The rules do not *permit it. | P ER0 M IH1 T
There was no *progress. | P R AA1 G R EH2 S
The *project is late. | P R AA1 JH EH0 K T
They *project a loss for this year. | P R AA0 JH EH1 K T
It is a *perfect day. | P ER1 F IH2 K T
He wants to *perfect his technique. | P ER0 F EH1 K T
They keep the twins in *separate rooms. | S EH1 P ER0 IH0 T
You must *separate the eggs. | S EH1 P ER0 EY2 T
This is only an *estimate. | EH1 S T AH0 M AH0 T
Experts *estimate the damage at a million. | EH1 S T AH0 M EY2 T
She will *graduate in June. | G R AE1 JH AH0 W EY2 T
He is a *graduate of Oxford. | G R AE1 JH AH0 W AH0 T
The website has good *content. | K AA1 N T EH0 N T
She seemed *content with it. | K AH0 N T EH1 N T
The museum will exhibit it and *present a film. | P R IY0 Z EH1 N T
Nobody was *present at the meeting. | P R EH1 Z AH0 N T
The *record shows that he was right. | R EH1 K ER0 D
Could you *close that drawer for me? | K L OW1 Z
The two villages are very *close. | K L OW1 S
Their house stands *close to the river. | K L OW1 S
They *use solar panels now. | Y UW1 Z
What's the *use of worrying? | Y UW1 S
Make good *use of your time. | Y UW1 S
Both engineers *used the same tool. | Y UW1 Z D
He *used to smoke a pipe. | Y UW1 S T
Sugar is *used to sweeten tea. | Y UW1 Z D
We are getting *used to it. | Y UW1 S T
Have you *read the news today? | R EH1 D
My father *read to us at bedtime when we were small. | R EH1 D
Students should *read two chapters. | R IY1 D
He *read aloud from the old diary. | R EH1 D
They rarely *read poetry. | R IY1 D
It was a good *read. | R IY1 D
Did she *object to the price? | AH0 B JH EH1 K T
Money is no *object. | AA1 B JH EH0 K T
History was my favourite *subject at school. | S AH1 B JH IH0 K T
The factory can *produce ten cars a day. | P R AH0 D UW1 S
Fresh *produce arrives every morning. | P R OW1 D UW0 S
Elephants *live for sixty years. | L IH1 V
Their *lives changed overnight. | L AY1 V Z
My aunt *lives near the coast. | L IH1 V Z
The band played *live from Tokyo. | L AY1 V
I would love to *live abroad. | L IH1 V
Who will *lead the discussion? | L IY1 D
Old paint may contain *lead. | L EH1 D
The road may *lead nowhere. | L IY1 D
A strong *wind blew from the north. | W IH1 N D
Paths *wind through the forest. | W AY1 N D
She wiped away her *tears. | T IH1 R Z
He tried to *tear up the letter. | T EH1 R
Sales *increase in December. | IH2 N K R IY1 S
The steady *increase surprised everyone. | IH1 N K R IY2 S
We crossed the *desert on camels. | D EH1 Z ER0 T
He has no *excuse for being late. | IH0 K S K Y UW1 S
*Excuse me, is this seat taken? | IH0 K S K Y UW1 Z
They *refuse to pay. | R IH0 F Y UW1 Z
Please read the *contract before you sign. | K AA1 N T R AE2 K T
You can easily *contract a cold. | K AH0 N T R AE1 K T
His *conduct shocked the court. | K AA1 N D AH0 K T
The city won't *permit parking here. | P ER0 M IH1 T
Our work will *progress slowly. | P R AH0 G R EH1 S
They made rapid *progress. | P R AA1 G R EH2 S
Her voice can *project to the last row. | P R AA0 JH EH1 K T
Practice makes *perfect. | P ER1 F IH2 K T
We keep church and state *separate. | S EH1 P ER0 IH0 T
A fence and a hedge *separate the gardens. | S EH1 P ER0 EY2 T
The *estimate was far too low. | EH1 S T AH0 M AH0 T
Most of the *graduates found work. | G R AE1 JH AH0 W AH0 T S
The army will attack the *rebel camp. | R EH1 B AH0 L
The *contents of the box are fragile. | K AA1 N T EH0 N T S
He felt *content after dinner. | K AH0 N T EH1 N T
The *suspect denied everything. | S AH1 S P EH2 K T
I *suspect that he lied. | S AH0 S P EH1 K T
They plan to *transport the horses by train. | T R AE0 N S P AO1 R T
Public *transport is cheap here. | T R AE1 N S P AO0 R T
The court will *convict him. | K AH0 N V IH1 K T
An escaped *convict was caught. | K AA1 N V IH0 K T
The seller offered a full *refund. | R IY1 F AH2 N D
"""


def homograph_cases(text: str = SENTENCES) -> list[tuple[str, str, str]]:
    """Return each sentence without its star, the marked word, and its phonemes."""
    cases = []
    for line in text.strip().splitlines():
        marked, _, phonemes = line.partition(" | ")
        word = marked.partition("*")[2].split()[0].strip(".,?!")
        cases.append((marked.replace("*", ""), word, phonemes))
    return cases
