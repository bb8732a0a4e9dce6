"""Figures and their bounds, and the table of them."""

from dataclasses import dataclass


@dataclass
class Row:
    what: str
    measured: str
    bound: str
    holds: bool | None  # None: shown, without a bound


def at_least(what, value, bound, form="{:.2f}"):
    return Row(what, form.format(value), "≥ " + form.format(bound), value >= bound)


def at_most(what, value, bound, form="{:.2f}"):
    return Row(what, form.format(value), "≤ " + form.format(bound), value <= bound)


def shown(what, value, form="{:.2f}"):
    return Row(what, form.format(value), "-", None)


def failed(figure, problem):
    return Row(f"{figure}: {problem}", "-", "-", False)


def table(rows):
    cells = [("what", "measured", "bound", "holds")]
    cells += [(row.what, row.measured, row.bound, {True: "yes", False: "NO", None: "-"}[row.holds]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [" | ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells]
    lines.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(lines)
