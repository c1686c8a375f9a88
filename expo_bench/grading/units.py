r"""What may stand behind a number and is no mathematics: units, currencies, counted nouns. A list, see `UNITS`.

Nothing is cut but one group at the end of an answer, all of whose words are known. Units are not converted.
"""

import re


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


UNITS = _listed("""
    m cm mm km dm nm pm µm μm um in ft yd mi ly au pc sq cu s sec secs ms ns h hr hrs min mins d yr yrs wk
    wks g kg mg lb lbs oz t l L mL ml cL dL cc gal qt pt J kJ MJ eV keV MeV GeV cal kcal W kW MW kWh N kN Pa
    kPa MPa atm bar K C F V mV kV A mA ohm ohms Hz kHz MHz GHz T Wb H mol rad rads sr deg degs B kB KB MB GB
    TB mph kph kmh kmph rpm fps bps dB ha Celsius Fahrenheit kelvin degree newton joule watt volt ampere
    pascal hertz tesla coulomb radian steradian mole meter metre inch foot feet yard mile centimeter
    centimetre millimeter millimetre kilometer kilometre decimeter decimetre nanometer micrometer hectare
    acre liter litre milliliter millilitre gallon quart pint cup ounce pound gram kilogram milligram ton
    tonne second minute hour day week month year century decade angstrom Angstrom erg dyne dyn parsec AU Mpc
    kpc solar unit units sq. cu. ft. in. sec. min. hr. cm. lb. oz. yd. mi. km. M gm 元 个 只 米 人 次 年 天
""")
"""Units of measurement and their signs, as they are written; plurals in -s are known by rule."""
CURRENCIES = _listed("""
    dollar dollars cent cents buck bucks euro euros pound pounds rupee rupees yen yuan won peso pesos franc
    francs penny pennies pence dime dimes nickel nickels quarter quarters shilling shillings USD EUR GBP INR
    JPY CNY AUD CAD Rs Rs. rs usd eur US
""")
_NOUNS = _listed("""
    people person persons child children man men woman women mouse mice goose geese fish sheep deer ox oxen
    foot tooth teeth way point digit apple egg student pencil ticket book problem question chicken rabbit
    marble coin card ball page word letter game team car bus cow dog cat bird horse pig box boxes glass
    glasses piece slice cookie candy cake pie pizza orange banana flower tree plant bottle bag shirt shoe
    pair time toy hat bead bean seed stamp sticker house room chair table window door brick block tile
    triangle circle rectangle vertex vertices edge face side diagonal solution integer
    number value element subset matrix matrices permutation combination path arrangement outcome sequence
    term divisor pattern paper worker member player boy girl adult guest friend family families
    city cities country countries fly flies berry berries strawberry strawberries baby babies lady ladies
    puppy puppies party parties story stories copy copies body bodies penny candies cherry cherries bushel
    crate carton pack packet package bunch row column step move turn trip lap round shot goal mark vote
    pixel bit byte calorie serving meal customer visitor passenger seat gumball crayon multiple
""")
IN_BETWEEN = _listed("""
    square squared cubic sq cu sq. cu. per a an the of each every in total altogether old long tall wide
    high them it all more left remaining different distinct possible right isosceles red blue green white
    black young small large big such another new other extra additional whole full
""")
_OPENING = IN_BETWEEN - {"squared", "an", "the", "in", "it", "all", "total", "altogether"}
_NO_NOUN = _listed("""
    times plus minus less is was has does its this thus equals modulus versus halves thirds fourths fifths
    sixths sevenths eighths ninths tenths elevenths twelfths hundredths thousandths
    millionths tens hundreds thousands millions billions dozens scores grosses lots makes gives remains becomes
    yields means needs exceeds divides fails works follows always as us yes ours theirs perhaps cos sins
    arcs logs powers roots radius negatives inverses reciprocals opposites consists exists
    contains lies unless besides towards backwards downwards upwards across ones twos threes fours fives
""")
_SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "quadrillion": 10**15, "lakh": 10**5, "crore": 10**7,
}  # fmt: skip

_GROUP = (
    r"\\(?:text|mathrm|mbox|textrm|textit|mathit|textbf|mathbf|operatorname|hbox|textsf"
    r"|textnormal)\s*\{(?P<inside>[^{}]*)\}"
)
_POWER = r"\s*\^\s*(?:\{\s*-?[1-3]\s*\}|-?[1-3])"
_LAST = re.compile(
    rf"(?:{_GROUP}|(?<![^\W\d_])(?<![\\_^])(?P<bare>[^\W\d_][^\W\d_.'-]*\.?))(?P<power>{_POWER})?(?:\s|~|\\[,;:! ])*\Z"
)
_SEPARATOR = re.compile(r"(?:\s|~|\\[,;:! ]|\\q?quad\b|/|\\cdot\b|\*)+\Z")
_WORD = re.compile(r"[^\W\d_][^\W\d_.'-]*\.?")
_NOT_WORDS = re.compile(r"(?:[\s/*~.,()-]|\\[,;:! ]|\^\{?-?\d\}?)*")
_ENDS_IN_NUMBER = re.compile(r".*(?:\d|\}|\)|!|\\pi|\\%|\b[a-zA-Z])\Z", re.DOTALL)
_BARE_NUMBER = re.compile(
    r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+|(?:\\cdot|\\times)\s*10\^\{?-?\d+\}?)?"
    r"|.*\\frac\{\d+\}\{\d+\}|.*\\pi"
)
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?\s*(?:\\(?:text|mathrm)\s*\{\s*[CFK]\s*\}|[CF])?\s*\Z")
_TRIGONOMETRIC = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_ORDINAL = re.compile(
    r"(?<=\d)\s*(?:\^\s*\{?\s*)?(?:\\(?:text|mathrm|textrm)\s*\{\s*(?:st|nd|rd|th)\s*\}|(?:st|nd|rd|th))\s*\}?\s*\Z"
)
_CURRENCY_FIRST = re.compile(
    r"(?P<sign>[-+]?)\s*(?:\\?\$|\\(?:pounds|yen|texteuro|euro)\b|[€£₹¥]|(?:USD?|EUR|GBP|INR|Rs\.?"
    r"|CAD|AUD)(?=[\s\d~\\])|"
    r"\\text\s*\{\s*(?:USD?|EUR|GBP|INR|Rs\.?|(?:US\s*)?\\?\$|€|£)\s*\})(?:\s|~"
    r"|\\[,;:! ])*\\?\$?(?P<rest>-?[\d.\\(].*)",
    re.DOTALL,
)
_CURRENCY_LAST = re.compile(r"(?P<rest>.*\d)\s*(?:\\?\$|[€£₹¥¢])", re.DOTALL)


def without_unit(text: str) -> str:
    r"""Return an answer without its unit: `15\mbox{ cm}^2`, `5 km/h`, `\$18`, `12 \text{ chickens}`, `25^\circ C`.

    A scale word multiplies: `3 \text{ million}` is `3 \cdot 1000000`. Of what is not known in full, nothing is cut.
    """
    if money := _CURRENCY_FIRST.fullmatch(text):
        text = money["sign"] + money["rest"]
    if money := _CURRENCY_LAST.fullmatch(text):
        text = money["rest"]
    body, names, scale = _behind(text)
    if names is None:
        body = text
    elif scale > 1:
        body = rf"{body} \cdot {scale}"
    if not _TRIGONOMETRIC.search(body):
        body = _DEGREES.sub("", body)
    return _ORDINAL.sub("", body).strip() or text


def unit_words(text: str) -> list[str]:
    """Return the words of the unit behind a number, none where nothing stands there or what does is no unit."""
    return _behind(text)[1] or []


def power_of_unit(text: str) -> str | None:
    """Return the digit of the power of an answer's last unit: cm^2; None where none is told."""
    found = _LAST.search(text.rstrip())
    if not found or not found["power"] or not _are_units([(found["bare"] or found["inside"]).strip(" ~")]):
        return None
    return re.sub(r"[^\d]", "", found["power"])


def _behind(text: str) -> tuple[str, list[str] | None, int]:
    """Return what stands before the unit, the unit's words, None where they are none, and what scale words say."""
    body, names, marked = _peel(text)
    scale = 1
    while names and names[0].casefold() in _SCALES:
        scale *= _SCALES[names.pop(0).casefold()]
    if names and not (_are_units(names) and (marked or _stands_behind(body, names))):
        return body, None, 1
    return body, names, scale


def _peel(text: str) -> tuple[str, list[str], bool]:
    """Return what stands before the last words of an answer, these words, and whether all are marked as text."""
    names: list[str] = []
    body, marked = text.rstrip(), True
    while found := _LAST.search(body):
        inside = found["inside"] if found["bare"] is None else found["bare"]
        words = [
            word.rstrip(".") if word.count(".") == 1 and word not in UNITS | CURRENCIES else word
            for word in _WORD.findall(inside)
        ]
        if (inside.strip() and not words) or _NOT_WORDS.fullmatch(_WORD.sub("", inside)) is None:
            break
        before = _SEPARATOR.sub("", body[: found.start()])
        if not before:
            break
        marked = marked and found["bare"] is None
        names = words + names
        body = before
    return (body, names, marked) if _ENDS_IN_NUMBER.fullmatch(body) else (text, [], True)


def _stands_behind(body: str, names: list[str]) -> bool:
    """Return whether words that are not marked as text are no variables: two letters or more behind a plain number."""
    if not _BARE_NUMBER.fullmatch(body):
        return False
    return any(len(name) > 1 for name in names) or names in (["m", "s"], ["m", "h"])


def _are_units(names: list[str]) -> bool:
    known = False
    for at, name in enumerate(names):
        if name in UNITS or name in CURRENCIES or name.casefold() in _NOUNS or _is_plural(name):
            known = True
        elif (
            at
            and names[at - 1] in ("per", "a", "each", "every", "of")
            and len(name) > 1
            and name.casefold() not in _NO_NOUN
        ):
            continue
        elif name.casefold() not in (IN_BETWEEN if at else _OPENING):
            return False
    return known or names in (["more"], ["of", "them"], ["left"])


def _is_plural(name: str) -> bool:
    name = name.casefold()
    stem = name[:-1] if name.endswith("s") and not name.endswith(("ss", "us", "is")) else ""
    return len(stem) > 2 and stem.isalpha() and name not in _NO_NOUN
