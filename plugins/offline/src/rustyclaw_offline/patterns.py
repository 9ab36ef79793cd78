"""The pieces that the patterns of `intents` are put together from.

A step is matched whole, in any case, with its quotations hidden behind marks and with
single spaces, so a space in a pattern stands for any white space.
"""

from __future__ import annotations

from rustyclaw_offline.quoting import QUOTED

#: Before and after the request itself.
POLITE = (
    r"(?:(?:@[\w.-]{1,64}|hey|hi|hello|ok|okay|so|now|also|and|then|please|kindly|first|finally|next|"
    r"just|after that|afterwards|assistant|(?:can|could|would|will) you|i want you to|"
    r"i would like you to|i'd like you to|let's)[,:]? )*"
)
END = r"(?:,? (?:please|for me|now|again|back|thanks|thank you))*[ .?!]*"

THE = r"(?: the| my| your| our| this| that| a| an)?"
IS = r"(?:'s| is| are| was| were)"
ME = r"(?: me)?(?: all)?(?: of)?"

# --- Files ------------------------------------------------------------------------

NAME = rf"(?P<path>{QUOTED}|[^ ,;:\x00]+?)"
#: Without the word "file", only what looks like a path is taken for one.
PATH = (
    rf"(?P<path>{QUOTED}|it|(?=[^ ,;:\x00]*[./])[^ ,;:\x00]+?"
    r"|(?-i:[A-Z][A-Z_]+)|makefile|dockerfile|readme)"
)
FILE = rf"{THE}(?: new| empty| text)*(?: file)?(?: called| named)? {PATH}"
NAMED_FILE = rf"{THE}(?: new| empty| text)* file(?: called| named)? {NAME}"
LINE_RANGE = (
    r" lines? (?P<first>\d{1,6})(?: ?(?:-|to|through|until) ?(?P<last>\d{1,6}))?"
)
FILES = r"(?:files|everything|folders|directories|documents)(?: and (?:folders|files))?"
FOLDER = rf"{THE}(?: folder| directory)? {NAME}(?: folder| directory)?"
#: Where to list, which names, how deep: in any order.
WHICH = (
    rf"(?:(?: that are| there)?(?: in| of| under| inside| from){FOLDER}"
    rf"|,?(?: matching| named| called| like) (?P<pattern>{QUOTED}|[^ ]+?)"
    r"|,?(?P<deep> recursively| (?:and|with|including)(?: all)?(?: the)?"
    r" sub-?(?:folders|directories)))*"
)

# --- Texts ------------------------------------------------------------------------

#: "the text", "the following lines:", or nothing.
TEXT = (
    r"(?:(?: the| this)?(?: following| exact)?(?: text| contents?| lines?| words?)"
    r"|(?: the)? following)?:?"
)
HOLDING = (
    rf"(?:,? (?:with|containing|saying|that (?:says|contains|reads))|:){TEXT} ?"
    rf"(?:(?P<content>{QUOTED})|(?P<words>[^\x00].*))"
)


def some_text(name: str) -> str:
    """Return a group that holds a quotation or a few words."""
    return rf" (?P<{name}>{QUOTED}|[^\x00]+?)"


# --- Memory -----------------------------------------------------------------------

MEMORY = r"(?: the| your| my)? ?(?:memory|memories)"
REMEMBER = r"(?:remember|memori[sz]e|note|keep in mind|don't forget|do not forget):?"
KEY = r" (?P<key>.{1,80}?)"
QUERY = r" (?P<query>.+?)"
