"""Counting how many texts of a golden come out equal, and noting how the others differ."""

from dataclasses import dataclass

from sovits_serve.parity.report import Check, Report, at_least

_MAX_SHOWN = 400  # characters of a difference


@dataclass
class Tally:
    """Counts equal and different results of one kind; ``wanted`` is the share to be reached."""

    name: str
    metric: str
    wanted: float
    report: Report
    num_equal: int = 0
    num_all: int = 0

    def add(self, source: str, ours: object, theirs: object) -> None:
        """Count one comparison; a difference is noted."""
        self.num_all += 1
        if ours == theirs:
            self.num_equal += 1
            return
        lines = (f"{self.name} {self.metric}: {source!r}", f"upstream {theirs}", f"here     {ours}")
        self.report.note("parity: " + "\nparity:   ".join(line[:_MAX_SHOWN] for line in lines))

    def check(self) -> Check:
        """Return the share of equal results as a check."""
        share = self.num_equal / self.num_all if self.num_all else 1.0
        return at_least(self.name, f"{self.metric}_equal_share", share, self.wanted)
