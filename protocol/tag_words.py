"""The 256 words of which tags are made.

Common, neutral English nouns and adjectives of four to six letters. Each is one token, with
and without a leading space, in the tokenizers of SmolLM2, GPT-2 (r50k), GPT-4 (cl100k) and
GPT-4o (o200k), so that every tag has the same length in tokens.
"""

_WORDS = """
amber angel apple arch arrow artist atom ball band beam bean bear beat bell belt bench bird blue
board boat bone book border brand bread bridge brown brush button camera camp carbon card castle
cent center chain chair chart child circle city clip clock cloth cloud coal coat coin cold color
column corn cover craft cross cube cycle deck deep digit door dream early earth east echo engine
face falls farm field file film finger fire fish flag flash flight floor flower food foot forest
forum frame fresh fruit fuel game gate glass gold grand grass gray green ground group guide hair
hall hand handle head heart heat heavy hill hole home hood horn horse hour house inner iron join
king lake land lane large layer leaf letter light lime mail mask meal metal meter middle mile
mill minute month moon motion mouse mouth movie music nature night north office orange orbit
oven panel paper park part patch path peace phone photo piece pine pipe plan planet plant plate
pool port print profit quiet radio rail rain rice ring river road rock room root rose round
route sand scene school season seat shape sheet shell shield ship shirt shop shore short simple
sleep small soft song sound space spring square stage star step stick stone storm story stream
street string strong sweet table tail tank tile time tower town track train tree tube upper
vector vine voice volume warm watch water wave wheel white wide wild wind window wing winter
wire wolf wood world yellow young
"""

TAG_WORDS: tuple[str, ...] = tuple(_WORDS.split())
"""Byte b of a nonce picks word b. Order and content are part of the agreement: changing
either changes every tagged prompt (a test pins the digest)."""
