"""The table that scripts/compat makes."""

from pathlib import Path

from tests.compat.report import BEGIN, END, markdown, write_into
from tests.compat.result import Result


def test_problems_stand_under_the_table_word_for_word() -> None:
    """What is wrong is neither hidden nor shortened."""
    result = Result("granian", "2.8.7", "sleep", 60.0)
    result.expect(False, "something is wrong")

    table = markdown([result], "abc1234")

    assert "| granian 2.8.7 | sleep 60 s |" in table
    assert "wrong, see below" in table
    assert "- something is wrong" in table


def test_only_the_part_between_the_marks_is_replaced(tmp_path: Path) -> None:
    """The text that people wrote around the table stays."""
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    write_into(document, "new")

    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "new" in text
    assert "old" not in text


def test_one_slow_client_of_twenty_is_no_percentile_but_two_are() -> None:
    """The 95th percentile of twenty tries is the nineteenth."""
    result = Result("granian", "2.8.7", "sleep", 60.0)

    result.leave_s = [0.1] * 19 + [3.0]
    assert result.leave_p95_s == 0.1
    result.leave_s = [0.1] * 18 + [3.0] * 2
    assert result.leave_p95_s == 3.0
