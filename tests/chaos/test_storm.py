"""A seeded minute of everything at once."""

import pytest

from tests.chaos.storm import run_storm


@pytest.mark.chaos
@pytest.mark.e2e
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1])
def test_a_minute_of_everything_at_once(seed: int) -> None:
    """Under load, while all kinds of processes die and hang, nothing that must hold is broken."""
    report = run_storm(minutes=1.0, seed=seed)

    assert not report.violations, report
    assert report.outcomes["complete"] > 20
    assert len(report.faults) >= 5
