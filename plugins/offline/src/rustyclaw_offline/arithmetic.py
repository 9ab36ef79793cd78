"""Calculates ``2 * (3 + 4)`` exactly, without ever evaluating code."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from fractions import Fraction

from rustyclaw_offline.quoting import plain

_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|\*\*|[-+*/%^()])")
_WORDS = (
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\b(?:times|multiplied by)\b|x(?=[\s\d(.])", "*"),
    (r"\b(?:divided by|over)\b", "/"),
    (r"\bmod(?:ulo)?\b", "%"),
    (r"\bto the power of\b|\*\*", "^"),
    (r"(?:%|\bpercent) of\b", "/100*"),
)
_MAX_LENGTH = 200
_MAX_DEPTH = 20
_MAX_BITS = 4096
_DISPLAY = Context(prec=15)


class NotAnExpression(Exception):
    """The text is no arithmetic at all."""


def calculate(text: str) -> str:
    """Return the value of an expression of ``+ - * / % ^`` and parentheses.

    :raises NotAnExpression: It cannot be read as one.
    :raises ArithmeticError: It can, but has no value or one too large; says why.
    """
    text = plain(text.lower())
    if len(text) > _MAX_LENGTH or text.count("(") > _MAX_DEPTH:
        raise NotAnExpression
    for words, symbol in _WORDS:
        text = re.sub(words, symbol, text)
    return _shown(_Parser(text).value())


def _shown(value: Fraction) -> str:
    if value.denominator == 1 and abs(value.numerator) < 10**15:
        return str(value.numerator)
    quotient = _DISPLAY.divide(Decimal(value.numerator), Decimal(value.denominator))
    exact = Fraction(quotient) == value
    shown = f"{quotient:f}" if -10 <= quotient.adjusted() < 15 else f"{quotient:e}"
    return shown if exact else f"about {shown}"


class _Parser:
    """Recursive descent, one method for each level of precedence."""

    def __init__(self, text: str) -> None:
        self._tokens = []
        text = text.strip()
        position = 0
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                raise NotAnExpression
            self._tokens.append(token[1])
            position = token.end()
        self._tokens.append("")  # the end

    def value(self) -> Fraction:
        result = self._sum()
        if self._tokens[0]:
            raise NotAnExpression
        return result

    def _take(self, *wanted: str) -> str:
        """Consume and return the next token if it is wanted, else return ``""``."""
        return self._tokens.pop(0) if self._tokens[0] in wanted else ""

    def _sum(self) -> Fraction:
        result = self._product()
        while sign := self._take("+", "-"):
            right = self._product()
            result = result + right if sign == "+" else result - right
        return result

    def _product(self) -> Fraction:
        result = self._sign()
        while sign := self._take("*", "/", "%"):
            right = self._sign()
            if sign == "*":
                result *= right
            elif right == 0:
                raise ArithmeticError("a division by zero has no value")
            else:
                result = result / right if sign == "/" else result % right
        return result

    def _sign(self) -> Fraction:
        if self._take("-"):
            return -self._sign()
        return self._sign() if self._take("+") else self._power()

    def _power(self) -> Fraction:
        base = self._number()
        if not self._take("^"):
            return base
        exponent = self._sign()
        if exponent.denominator != 1:
            raise ArithmeticError("only whole exponents can be calculated here")
        if base == 0 and exponent < 0:
            raise ArithmeticError("a division by zero has no value")
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * bits > _MAX_BITS:
            raise ArithmeticError("that number is too large to be calculated here")
        return Fraction(base ** int(exponent))

    def _number(self) -> Fraction:
        if self._take("("):
            result = self._sum()
            if not self._take(")"):
                raise NotAnExpression
            return result
        if not self._tokens[0].strip("+-*/%^()"):  # an operator, or the end
            raise NotAnExpression
        return Fraction(self._tokens.pop(0))
