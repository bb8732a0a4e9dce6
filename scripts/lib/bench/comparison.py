"""What `measure` prints about two servers A and B that it has loaded in turn, as figures."""

import re
import statistics

COLUMNS = ("events", "cpu_us", "p50_us", "p99_us", "rss_mib", "others")
UNSTEADY = 0.15  # beyond it, says the yardstick's README, somebody else is using the machine


class Comparison:
    def __init__(self, lines):
        self.rounds = {"A": [], "B": []}
        for line in lines:
            if found := re.match(r"([AB]) round \d+\s+(.*)", line):
                texts = found[2].split()
                figures = [float(text) if text != "-" else float("nan") for text in texts]
                self.rounds[found[1]].append(dict(zip(COLUMNS, figures, strict=True)))

    def pairs(self, column):
        return [(a[column], b[column]) for a, b in zip(self.rounds["A"], self.rounds["B"], strict=True)]

    def ratio(self, column):
        """Of A to B: the median over the pairs of neighbouring rounds."""
        return statistics.median(a / b for a, b in self.pairs(column))

    def difference(self, column):
        """A less B, alike."""
        return statistics.median(a - b for a, b in self.pairs(column))

    def unsteady(self):
        """The sides whose rounds are far apart, in speed or in CPU per event: by how much, as a share of the median."""
        apart = {side: max(spread(rounds, column) for column in ("events", "cpu_us")) for side, rounds in self.rounds.items()}
        return [(side, share) for side, share in apart.items() if share > UNSTEADY]


def spread(rounds, column):
    values = [figures[column] for figures in rounds]
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0  # no process, no CPU
