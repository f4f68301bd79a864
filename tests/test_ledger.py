"""Which trials have a place: the same for everybody, whatever was lost in between."""

import pytest
from optuna.trial import TrialState, create_trial

from skreg._ledger import COUNTS, ENQUEUED, OWNER, RELEASED, RETRY_OF, Ledger, scored


def trials(*kinds):
    """Trials of a study by what they are: a state, and the marks of the system or the user that they have."""
    made = []
    for number, (state, *marks) in enumerate(kinds):
        marks = dict(marks)
        user = {COUNTS: True} if marks.pop(COUNTS, False) else {}
        owner = {} if marks.pop("stranger", False) else {OWNER: {"run": "one"}}
        value = 0.5 if state == "COMPLETE" else None
        trial = create_trial(state=TrialState[state], value=value, user_attrs=user, system_attrs={**owner, **marks})
        trial.number = number
        made.append(trial)
    return made


def places(*kinds, total=9):
    return [trial.number for trial in Ledger(trials(*kinds)).places[:total]]


FAIL, RUNNING, COMPLETE, PRUNED = ("FAIL",), ("RUNNING",), ("COMPLETE",), ("PRUNED",)


def retry(of, state="RUNNING"):
    return state, (RETRY_OF, of)


def test_roots_have_the_places_in_their_order():
    assert places(COMPLETE, PRUNED, RUNNING, RUNNING, total=3) == [0, 1, 2]


def test_one_that_failed_by_its_own_fault_counts_and_another_gave_its_place_up():
    assert places(("FAIL", (COUNTS, True)), FAIL, COMPLETE) == [0, 2]
    assert [scored(trial) for trial in trials(("FAIL", (COUNTS, True)), FAIL, COMPLETE, RUNNING)] == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("lost", "expected"),
    [(RUNNING, [0, 1]), (FAIL, [2, 1]), (COMPLETE, [0, 1]), (("FAIL", (COUNTS, True)), [0, 1])],
)
def test_a_retry_has_the_place_once_what_it_retries_is_lost(lost, expected):
    """Not before, so that a trial which was told after all stays, and there is no moment without either."""
    assert places(lost, COMPLETE, retry(0), total=2) == expected


def test_of_two_retries_the_first_counts_and_a_retry_may_be_lost_in_turn():
    assert places(FAIL, retry(0), retry(0)) == [1]
    assert places(FAIL, retry(0, "FAIL"), retry(0), retry(1, "COMPLETE")) == [3]


def test_a_retry_keeps_the_rank_of_what_it_retries():
    """The third began when there was no place left, and its process may not have seen that yet."""
    assert places(COMPLETE, FAIL, RUNNING, retry(1), total=2) == [0, 3]


def test_what_was_released_or_waits_keeps_its_place():
    assert places(("FAIL", (RELEASED, True)), RUNNING) == [0, 1]
    assert places(("FAIL", (RELEASED, True)), RUNNING, retry(0)) == [2, 1]
    assert places(("WAITING", ("stranger", True)), RUNNING) == [0, 1]
    assert places(("FAIL", ("stranger", True)), RUNNING, retry(0)) == [2, 1]


def test_what_no_search_made_has_no_place():
    stranger = ("stranger", True)
    assert places(("COMPLETE", stranger), ("RUNNING", stranger), ("FAIL", stranger), COMPLETE) == [3]


def test_what_was_enqueued_twice_has_one_place():
    assert places(("RUNNING", (ENQUEUED, "a")), ("RUNNING", (ENQUEUED, "a")), ("RUNNING", (ENQUEUED, "b"))) == [0, 2]


def test_strays_run_without_a_place():
    ledger = Ledger(trials(RUNNING, RUNNING, retry(0), retry(0), RUNNING))
    assert [trial.number for trial in ledger.strays(2)] == [3, 4]
    assert [trial.number for trial in ledger.open(2)] == [0, 1]
