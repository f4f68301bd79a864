"""Tests of the assignment of trials to slots, which is the same in every process."""

import pytest
from optuna.trial import TrialState, create_trial

from skreg.search.study.trial_slots import COUNTED, ENQUEUED, PROCESS, RETRY_OF, WITHDRAWN, TrialSlots, is_counted


def make_trials(*kinds):
    """Create trials from states and attributes, which belong to a search unless "foreign" is among them."""
    trials = []
    for number, (state, *attrs) in enumerate(kinds):
        attrs = dict(attrs)
        user = {COUNTED: True} if attrs.pop(COUNTED, False) else {}
        process = {} if attrs.pop("foreign", False) else {PROCESS: {"run": "one"}}
        value = 0.5 if state == "COMPLETE" else None
        trial = create_trial(state=TrialState[state], value=value, user_attrs=user, system_attrs={**process, **attrs})
        trial.number = number
        trials.append(trial)
    return trials


def holders(*kinds, total=9):
    return [trial.number for trial in TrialSlots(make_trials(*kinds)).holders[:total]]


FAIL, RUNNING, COMPLETE, PRUNED = ("FAIL",), ("RUNNING",), ("COMPLETE",), ("PRUNED",)
COUNTED_FAIL, WITHDRAWN_FAIL = ("FAIL", (COUNTED, True)), ("FAIL", (WITHDRAWN, True))


def retry(of, state="RUNNING"):
    return state, (RETRY_OF, of)


def test_originals_hold_the_slots_in_their_order():
    assert holders(COMPLETE, PRUNED, RUNNING, RUNNING, total=3) == [0, 1, 2]


def test_failed_evaluations_count_and_withdrawn_trials_do_not():
    assert holders(COUNTED_FAIL, WITHDRAWN_FAIL, COMPLETE) == [0, 2]
    assert holders(COUNTED_FAIL, ("RUNNING", (WITHDRAWN, True)), COMPLETE) == [0, 2]
    trials = make_trials(COUNTED_FAIL, WITHDRAWN_FAIL, COMPLETE, RUNNING)
    assert [is_counted(trial) for trial in trials] == [True, False, True, False]


def test_a_withdrawn_trial_that_completes_keeps_its_slot():
    assert holders(("COMPLETE", (WITHDRAWN, True)), COMPLETE) == [0, 1]


@pytest.mark.parametrize(
    ("lost", "expected"), [(RUNNING, [0, 1]), (FAIL, [2, 1]), (COMPLETE, [0, 1]), (COUNTED_FAIL, [0, 1])]
)
def test_a_retry_holds_the_slot_once_the_trial_has_failed(lost, expected):
    """Not earlier, so that a trial that completes after all stays, and the slot always has a holder."""
    assert holders(lost, COMPLETE, retry(0), total=2) == expected


def test_the_first_of_several_retries_counts_and_can_be_retried_in_turn():
    assert holders(FAIL, retry(0), retry(0)) == [1]
    assert holders(FAIL, retry(0, "FAIL"), retry(0), retry(1, "COMPLETE")) == [3]


def test_a_retry_keeps_the_rank_of_its_original():
    """The third trial started when no slot was left, and its process may not have noticed that yet."""
    assert holders(COMPLETE, FAIL, RUNNING, retry(1), total=2) == [0, 3]


def test_released_and_waiting_trials_keep_their_slots():
    assert holders(FAIL, RUNNING) == [0, 1]
    assert holders(FAIL, RUNNING, retry(0)) == [2, 1]
    assert holders(("WAITING", ("foreign", True)), RUNNING) == [0, 1]
    assert holders(("FAIL", ("foreign", True)), RUNNING, retry(0)) == [2, 1]


def test_trials_that_no_search_created_have_no_slot():
    foreign = ("foreign", True)
    assert holders(("COMPLETE", foreign), ("RUNNING", foreign), ("FAIL", foreign), COMPLETE) == [3]


def test_parameters_that_are_enqueued_twice_have_one_slot():
    assert holders(("RUNNING", (ENQUEUED, "a")), ("RUNNING", (ENQUEUED, "a")), ("RUNNING", (ENQUEUED, "b"))) == [0, 2]


def test_orphans_run_without_a_slot():
    slots = TrialSlots(make_trials(RUNNING, RUNNING, retry(0), retry(0), RUNNING))
    assert [trial.number for trial in slots.orphans(2)] == [3, 4]
    assert [trial.number for trial in slots.unfinished(2)] == [0, 1]
