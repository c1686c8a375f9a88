r"""Units that speak against each other: 5 cm is not 5 m, cm^2 is not cm^3. What only one answer tells, is not asked."""

import re

from expo_bench.grading.units import IN_BETWEEN, power_of_unit, unit_words

_SAME = {
    "length": (
        "m meter metre", "cm centimeter centimetre", "mm millimeter millimetre", "km kilometer kilometre", "dm",
        "nm nanometer", "in inch inches", "ft foot feet", "yd yard", "mi mile",
    ),
    "time": ("s sec second", "min minute", "h hr hour", "d day", "wk week", "month", "yr year", "ms"),
    "mass": ("g gram gm", "kg kilogram", "mg milligram", "lb lbs pound", "oz ounce", "t ton tonne"),
    "volume": ("L l liter litre", "mL ml milliliter millilitre", "gal gallon", "qt quart", "pt pint", "cup"),
    "money": ("$ dollar buck USD", "¢ cent penny pennies pence", "dime", "nickel", "€ euro EUR"),
}  # fmt: skip
_KNOWN = {word: (name, words) for name, listed in _SAME.items() for words in listed for word in words.split()}
_SPEEDS = {"mph": ("mi", "h"), "kmh": ("km", "h"), "kph": ("km", "h"), "kmph": ("km", "h")}
_LETTER = re.compile(r"(?P<body>.*\d)(?:\s|~|\\[,;: !])*(?P<name>[A-Za-z])\s*", re.DOTALL)
_CURRENCY = re.compile(r"\\?\$|[€¢]")


def contradict(gold: str, answer: str) -> bool:
    """Return whether two answers tell other units of one dimension, or other powers of one unit.

    Behind the same number hours and minutes, dollars and cents are not the same; nothing is converted.
    """
    left, right = _units(gold), _units(answer)
    if len(left) == len(right):
        pairs = zip(left, right, strict=True)
        if any(one and other and one[0] == other[0] and one[1] != other[1] for one, other in pairs):
            return True
    powers = [power_of_unit(text) for text in (gold, answer)]
    return None not in powers and powers[0] != powers[1]


def without_letter(gold: str, answer: str) -> str:
    """Return an answer without the letter that is the unit of the gold answer: 3 h, where that tells hours."""
    found = _LETTER.fullmatch(answer)
    units = _units(gold)
    return found["body"] if found and len(units) == 1 and units[0] and units[0] == _KNOWN.get(found["name"]) else answer


def _units(text: str) -> list[tuple[str, str] | None]:
    """Return dimension and unit of each word behind a number, of others None; the sign of money where it has none."""
    names = [name for name in unit_words(text) if name in _KNOWN or name.casefold() not in IN_BETWEEN]
    names = [word for name in names for word in _SPEEDS.get(name, (name,))]
    if not names and (sign := _CURRENCY.search(text)):
        names = [sign[0].lstrip("\\")]
    return [_KNOWN.get(name.rstrip(".")) or _KNOWN.get(name.rstrip(".").casefold().removesuffix("s")) for name in names]
