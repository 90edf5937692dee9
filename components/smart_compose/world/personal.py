"""Invented personal data in the ways people write them, by kind; `held_out` ways are met in measuring only.

Numbers and names that stand for no one: 555-01xx telephones (NANPA), Ofcom's drama numbers, example domains (RFC 2606), addresses
of documentation networks (RFC 5737), test digits with a right checksum.
"""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST = (
    "Aisha Anna Ben Carlos Chloe Daniel Elena Emma Felix Grace Hannah Ivan James Jose Julia Kenji Laura Leon Lucy Maria Martin "
    "Mina Nora Oliver Omar Paula Peter Priya Rosa Samuel Sofia Thomas Victor Yusuf Zoe"
).split()
LAST = (
    "Almeida Bauer Brown Chen Costa Dubois Fischer Garcia Haddad Hansen Ito Jackson Keller Kim Kowalski Larsen Martinez Meyer "
    "Nguyen Novak O'Brien Okafor Patel Petrov Rossi Sato Schmidt Silva Singh Smith Svensson Taylor Tanaka Weber Wilson"
).split()
DOMAINS = ("acme.example.com", "mail.example.org", "example.net", "post.example.com")
STREETS = ("Elm Street", "Oak Avenue", "Main Street", "Park Road", "Lake Drive", "Church Lane", "Hill Boulevard")
TOWNS = (
    ("Springfield", "IL", "62704"),
    ("Portland", "OR", "97204"),
    ("Houston", "TX", "77002"),
    ("Boston", "MA", "02110"),
)

Way = Callable[[random.Random], str]


def digits(rng: random.Random, count: int) -> str:
    return "".join(str(rng.randrange(10)) for _ in range(count))


def _local(rng: random.Random) -> str:
    return f"{rng.choice(FIRST)}.{rng.choice(LAST)}".lower().replace("'", "")


def _line(rng: random.Random) -> str:
    """A telephone number that nobody has."""
    return f"555-01{digits(rng, 2)}"


def _area(rng: random.Random) -> str:
    return rng.choice(("212", "312", "415", "503", "617", "713"))


def card(rng: random.Random, first: str = "4", count: int = 16) -> str:
    """Digits that pass the Luhn check."""
    body = first + digits(rng, count - 1 - len(first))
    doubled = sum(sum(divmod(int(sign) * (1 + index % 2), 10)) for index, sign in enumerate(reversed(body), start=1))
    return body + str(-doubled % 10)


def _amex(rng: random.Random) -> str:
    number = card(rng, "34", 15)
    return f"{number[:4]} {number[4:10]} {number[10:]}"


def iban(rng: random.Random) -> str:
    """A German IBAN with right check digits."""
    return _checked("DE", digits(rng, 18))


def _checked(country: str, account: str) -> str:
    """Check digits as ISO 13616 has them: letters count from A = 10, and the remainder by 97 is 1."""
    number = int("".join(str(int(sign, 36)) for sign in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02d}{account}"


def _grouped(text: str, sign: str = " ") -> str:
    return sign.join(text[start : start + 4] for start in range(0, len(text), 4))


def _postal(rng: random.Random) -> str:
    town, state, code = rng.choice(TOWNS)
    return f"{rng.randrange(1, 1999)} {rng.choice(STREETS)}, {town}, {state} {code}"


WAYS: dict[str, tuple[Way, ...]] = {
    "EMAIL": (
        lambda rng: f"{_local(rng)}@{rng.choice(DOMAINS)}",
        lambda rng: f"{rng.choice(LAST).lower().replace(chr(39), '')}{digits(rng, 2)}@{rng.choice(DOMAINS)}",
        lambda rng: f"{rng.choice(FIRST)}_{rng.choice(LAST)}+news@{rng.choice(DOMAINS)}".replace("'", ""),
    ),
    "PHONE": (
        lambda rng: f"{_area(rng)}-{_line(rng)}",
        lambda rng: f"({_area(rng)}) {_line(rng)}",
        lambda rng: f"+1 {_area(rng)} {_line(rng)}",
        lambda rng: f"{_area(rng)}.{_line(rng).replace('-', '.')}",
        lambda rng: f"+44 20 7946 0{digits(rng, 3)}",
        lambda rng: f"+49 30 23125 {digits(rng, 3)}",
    ),
    "URL": (
        lambda rng: (
            f"https://www.{rng.choice(DOMAINS)}/{rng.choice(LAST).lower().replace(chr(39), '')}/{digits(rng, 4)}"
        ),
        lambda rng: f"http://{rng.choice(DOMAINS)}/page?id={digits(rng, 5)}&user={rng.choice(FIRST).lower()}",
        lambda rng: f"www.{rng.choice(DOMAINS)}",
    ),
    "ACCOUNT": (iban, lambda rng: _grouped(iban(rng)), lambda rng: digits(rng, 10)),
    "CARD": (card, lambda rng: _grouped(card(rng)), lambda rng: _grouped(card(rng), "-")),
    "IP": (
        lambda rng: f"192.0.2.{rng.randrange(1, 255)}",
        lambda rng: f"198.51.100.{rng.randrange(1, 255)}",
        lambda rng: f"2001:db8::{rng.randrange(1, 65535):x}",
    ),
    "ADDRESS": (
        _postal,
        lambda rng: (
            f"{rng.randrange(1, 99)} {rng.choice(STREETS)}, Apt. {rng.randrange(1, 40)}, {', '.join(TOWNS[0][:2])} {TOWNS[0][2]}"
        ),
        lambda rng: f"P.O. Box {digits(rng, 4)}, {TOWNS[2][0]}, {TOWNS[2][1]} {TOWNS[2][2]}",
    ),
    "NAME": (
        lambda rng: rng.choice(FIRST),
        lambda rng: f"{rng.choice(FIRST)} {rng.choice(LAST)}",
    ),
}
# In no mail of the world: how well the finder does on what it was not written for.
HELD_OUT: dict[str, tuple[Way, ...]] = {
    "EMAIL": (
        lambda rng: f"{_local(rng)}@{rng.choice(DOMAINS)}".upper(),
        lambda rng: f"{_local(rng).replace('.', '-')}@mx{digits(rng, 1)}.example.co.uk",
        lambda rng: f"{digits(rng, 6)}.{rng.choice(LAST).lower().replace(chr(39), '')}%x@{rng.choice(DOMAINS)}",
    ),
    "PHONE": (
        lambda rng: f"1-800-{_line(rng)}",
        lambda rng: f"({_area(rng)}){_line(rng)}",
        lambda rng: f"+1 ({_area(rng)}) {_line(rng)}",
        lambda rng: f"{_area(rng)}/{_line(rng)}",
        lambda rng: f"+33 1 99 00 {digits(rng, 2)} {digits(rng, 2)}",
        lambda rng: f"+81-3-{digits(rng, 4)}-{digits(rng, 4)}",
    ),
    "URL": (
        lambda rng: f"ftp://files.{rng.choice(DOMAINS)}/{digits(rng, 4)}.zip",
        lambda rng: f"HTTPS://{rng.choice(DOMAINS).upper()}/A",
        lambda rng: f"https://{rng.choice(DOMAINS)}:8443/a/b#part-{digits(rng, 2)}",
        lambda rng: f"shop.example.org/list/{digits(rng, 3)}",
    ),
    "ACCOUNT": (
        lambda rng: _grouped(_checked("GB", f"NWBK{digits(rng, 14)}")),
        lambda rng: _checked("FR", f"{digits(rng, 20)}X{digits(rng, 2)}"),
        lambda rng: f"{digits(rng, 4)}-{digits(rng, 6)}",
    ),
    "CARD": (
        lambda rng: card(rng, "37", 15),
        _amex,
        lambda rng: _grouped(card(rng, "5")),
    ),
    "IP": (
        lambda rng: f"203.0.113.{rng.randrange(1, 255)}",
        lambda rng: f"2001:db8:0:0:1:0:0:{rng.randrange(1, 65535):x}",
        lambda rng: f"fe80::{rng.randrange(1, 65535):x}",
    ),
    "ADDRESS": (
        lambda rng: f"{rng.randrange(1, 999)} W {rng.randrange(4, 20)}th St, Austin, TX 78701",
        lambda rng: (
            f"{rng.randrange(1, 999)} Martin Luther King Blvd., Suite {digits(rng, 3)}, Oakland, CA 94612-{digits(rng, 4)}"
        ),
        lambda rng: f"PO Box {digits(rng, 3)}, Salem, OR 97301",
    ),
    "NAME": (
        lambda rng: f"Dr. {rng.choice(LAST)}",
        lambda rng: f"{rng.choice(FIRST)}-{rng.choice(FIRST)}",
        lambda rng: f"{rng.choice(FIRST)} van der {rng.choice(LAST)}",
    ),
}
