"""What nobody gets a picture of: categories of harm, why they are refused, and the words that tell them.

A rule is a list of groups; it holds for a prompt that has a phrase of every group. A phrase matches whole words only; `*` at its
end stands for any ending. The first category that holds gives the reason, so the more specific ones come first. No table of
words is complete: `extra_words` of the register stage adds to it, and pictures are looked at as well (safety.py).
"""

from __future__ import annotations

from dataclasses import dataclass

Group = tuple[str, ...]

MINORS: Group = (
    "child", "children", "childlike", "kid", "kids", "minor", "minors", "underage", "under age", "preteen*", "pre teen*",
    "teen", "teens", "teenage*", "toddler*", "infant*", "baby", "babies", "schoolgirl*", "schoolboy*", "school girl*",
    "school boy*", "little girl*", "little boy*", "young girl*", "young boy*", "year old girl", "year old boy", "juvenile*",
)  # fmt: skip
SEXUAL: Group = (
    "porn*", "nude", "nudes", "nudity", "naked", "topless", "bottomless", "undress*", "unclothed", "without clothes",
    "no clothes", "xxx", "nsfw", "hentai", "erotic*", "sex", "sexy", "sexual*", "sexuali*", "intercourse", "orgy", "orgies",
    "orgasm*", "masturbat*", "blowjob*", "blow job*", "handjob*", "cumshot*", "genital*", "penis", "penises", "vagina*",
    "vulva*", "boobs", "tits", "nipple*", "fetish*", "bdsm", "bondage", "striptease", "lingerie", "seductive*", "camgirl*",
    "onlyfans",
)  # fmt: skip
EXPLICIT: Group = tuple(word for word in SEXUAL if word not in ("sexy", "lingerie", "seductive*", "bondage", "fetish*"))
PERSONS: Group = (
    "celebrity", "celebrities", "actress*", "actor*", "singer", "politician*", "president", "prime minister", "queen",
    "princess", "influencer*", "streamer*", "real person", "real woman", "real man", "my ex", "my wife", "my husband",
    "my girlfriend", "my boyfriend", "my neighbour*", "my neighbor*", "my boss", "my teacher", "my coworker*",
    "my colleague*", "my classmate*", "my friend*", "my sister", "my brother", "my mother", "this woman", "this man",
    "this girl", "this photo", "this person",
)  # fmt: skip
INSTRUCTIONS: Group = (
    "how to", "instruction*", "recipe*", "blueprint*", "schematic*", "step by step", "tutorial*", "guide to", "diy",
    "homemade", "manual for", "make a", "make an", "build a", "build an", "building a", "assemble", "assembly of",
    "assembly diagram", "synthes*", "cook", "cooking", "3d print*", "3d printed", "wiring diagram",
)  # fmt: skip
WEAPONS_AND_DRUGS: Group = (
    "bomb", "bombs", "pipe bomb*", "explosive*", "ied", "ieds", "detonator*", "grenade*", "molotov*", "ghost gun*",
    "silencer*", "suppressor*", "machine gun*", "nerve agent*", "nerve gas", "sarin", "ricin", "anthrax", "chemical weapon*",
    "dirty bomb*", "meth", "methamphetamine*", "crystal meth", "fentanyl", "heroin", "crack cocaine", "cocaine", "lsd",
    "mdma",
)  # fmt: skip
PROTECTED_GROUPS: Group = (
    "jew", "jews", "jewish", "muslim*", "christian*", "hindu*", "black people", "black person", "africans", "asians",
    "immigrant*", "migrants", "refugee*", "gays", "gay people", "lesbians", "trans people", "transgender*", "roma", "gypsies",
    "disabled people", "women", "arabs", "mexicans", "white people", "homosexual*",
)  # fmt: skip
CONTEMPT: Group = (
    "subhuman*", "sub human*", "are vermin", "are inferior", "exterminat*", "eradicat*", "gas the", "lynching*", "lynch mob*",
    "deserve to die", "should die", "kill all", "death to", "are parasites", "are cockroaches", "ethnic cleansing", "wipe out",
)  # fmt: skip
KILLS: Group = (
    "kill", "kills", "killed", "killing", "stab", "stabs", "strangle", "strangles", "strangling", "slaughtering", "lynching",
)  # fmt: skip
VICTIMS: Group = (
    "person", "people", "persons", "man", "men", "woman", "women", "human*", "child*", "boy*", "girl*", "civilian*",
)  # fmt: skip
# whole phrases, since a man who kills a dragon is a fairy tale
KILLING: Group = tuple(
    f"{verb} {article}{victim}" for verb in KILLS for article in ("", "a ", "the ", "some ") for victim in VICTIMS
)

# Phrases in which those words mean nothing of the kind; they are taken out before anything is looked for.
HARMLESS: Group = (
    "naked mole rat*", "naked eye", "sex and the city", "blue tit*", "great tit*", "coal tit*",
    "murder of crows", "murder mystery", "murder mysteries", "murder on the orient express", "corpse flower*",
    "suicide squad", "killer whale*", "bath bomb*", "photo bomb*", "bomb cyclone",
    "bomb disposal", "bomb shelter*",
)  # fmt: skip


@dataclass(frozen=True)
class Harm:
    """A category: its name in logs and figures, what the user is told, and its rules."""

    name: str
    reason: str
    rules: tuple[tuple[Group, ...], ...]


HARMS = (
    Harm(
        "sexual_minors",
        "sexual content that involves minors is never made",
        (
            (MINORS, SEXUAL),
            (("csam", "child porn*", "kiddie porn*", "loli", "lolis", "lolicon*", "shotacon*", "jailbait*", "pedo*", "paedo*"),),
        ),
    ),
    Harm(
        "intimate_deepfake",
        "intimate pictures of real persons are not made",
        (
            (PERSONS, SEXUAL),
            (("deepfake*", "deep fake*", "deepnude*", "nudif*", "undress her", "undress him", "remove her clothes",
              "remove his clothes", "revenge porn*"),),
        ),
    ),
    Harm("sexual", "sexual content is not made", ((EXPLICIT,),)),
    Harm(
        "self_harm",
        "self-harm is not depicted; if you think of hurting yourself, please talk to someone, for example a crisis line",
        (
            (("suicid*", "kill myself", "killing myself", "kills herself", "kills himself", "killing herself",
              "killing himself", "self harm*", "selfharm*", "self mutilat*", "slit wrist*", "slitting wrist*", "slit her wrist*",
              "slit his wrist*", "slitting her wrist*", "slitting his wrist*", "cut my wrist*", "cutting my wrist*",
              "cutting her wrist*", "cutting his wrist*", "hang myself", "hanging myself", "hangs herself", "hangs himself",
              "hanging herself", "hanging himself", "thinspo*", "pro ana", "proana"),),
        ),
    ),
    Harm(
        "graphic_violence",
        "graphic violence is not depicted",
        (
            (("gore", "gory", "behead*", "decapitat*", "dismember*", "disembowel*", "mutilat*", "torture", "tortured",
              "torturing", "massacre*", "bloodbath*", "murder", "murders", "murdered", "murdering", "corpse*", "dead body",
              "dead bodies", "severed head*", "severed limb*", "guts spilling", "snuff film*", "stabbed",
              "stabbing", "rape", "raped", "raping", "rapist*", "mass shooting*", "school shooting*"),),
            (KILLING,),
        ),
    ),
    Harm(
        "hate",
        "content that demeans people for what they are, and its symbols, are not made",
        (
            (("nazi*", "neo nazi*", "swastika*", "hakenkreuz", "kkk", "ku klux klan", "klansm*", "white supremac*", "white power",
              "sieg heil", "heil hitler", "race war", "great replacement"),),
            (PROTECTED_GROUPS, CONTEMPT),
        ),
    ),
    Harm(
        "weapons_and_drugs",
        "instructions for weapons or drugs are not made",
        ((INSTRUCTIONS, WEAPONS_AND_DRUGS),),
    ),
)  # fmt: skip
