"""Words of RandomPet's names: short, friendly, and safe in names of objects (a-z alone)."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADVERBS = _words(
    "barely briskly calmly clearly evenly fairly firmly freely gently gladly "
    "highly hugely kindly lately lightly loudly mainly mildly namely nearly "
    "neatly openly partly plainly purely quickly rarely really safely shortly "
    "simply slowly softly solely surely truly vastly warmly wholly widely"
)
ADJECTIVES = _words(
    "able alert amused apt bold brave brief bright broad calm "
    "central clever close cosmic crisp daring deep eager early easy "
    "exact fair fast fine firm fleet fond frank free fresh "
    "gentle glad golden grand happy hardy honest humble keen kind "
    "large lasting light lively loyal lucky merry modest neat noble "
    "open patient proud pure quick quiet rapid ready rested rich "
    "robust sharp silent smart solid sound stable steady still sunny "
    "sure swift tender tidy trusty upright vital warm wise witty"
)
PETS = _words(
    "adder badger bat bear beaver bee bison bobcat buck camel "
    "cat cod condor coral crab crane cricket crow deer dingo "
    "dog dove drake duck eagle eel egret elk falcon fawn "
    "finch flounder fox frog gannet gecko goat goose gopher grouse "
    "gull hare hawk hen heron horse ibex ibis impala jackal "
    "jay kite kiwi koala krill lark lemur lion lizard llama "
    "lobster lynx macaw magpie mallard marmot marten mole moose moth "
    "mule newt octopus oryx otter owl panda parrot pelican pony "
    "puffin quail rabbit raven robin salmon seal shrew skylark snail "
    "spaniel stag starling stork swan tapir toucan trout turtle vole "
    "walrus weasel whale wolf wombat wren yak zebra"
)
