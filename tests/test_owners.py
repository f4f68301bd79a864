"""Who lives: by process on this host, by heartbeat elsewhere."""

import os
import subprocess
import sys
import time

import pytest

from skreg._owners import Heart, Pulse, close_run, open_run, owner_of, started

ASLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def none_beats():
    raise AssertionError("a process of this host is asked after itself")


@pytest.fixture
def asleep():
    process = subprocess.Popen(ASLEEP)
    yield process
    process.kill()
    process.wait()


def test_a_run_of_this_process_lives_while_it_is_open():
    owner = owner_of("mine")
    assert not Pulse(none_beats).alive(owner)
    open_run("mine")
    assert Pulse(none_beats).alive(owner)
    close_run("mine")
    assert not Pulse(none_beats).alive(owner)


@pytest.mark.skipif(os.name != "posix", reason="other systems do not tell of processes, and have the heartbeat")
def test_another_process_is_dead_when_killed_and_when_its_number_is_another_ones(asleep):
    owner = {**owner_of("other"), "pid": asleep.pid, "started": started(asleep.pid)}
    assert Pulse(none_beats).alive(owner)
    assert not Pulse(none_beats).alive({**owner, "started": "another time"})
    asleep.kill()
    while started(asleep.pid):
        time.sleep(0.001)
    assert not Pulse(none_beats).alive(owner), "although nobody has waited for it"
    asleep.wait()
    assert not Pulse(none_beats).alive(owner)


@pytest.mark.parametrize("place", ["host", "boot", "numbers"])
def test_elsewhere_an_owner_lives_while_its_count_changes(place):
    """Whatever the clock there says; and the same process number of another boot or container is another process."""
    owner, beats = {**owner_of("far"), place: "elsewhere"}, {"far": 0}
    pulse = Pulse(lambda: beats, grace=0.1)
    assert pulse.alive(owner)
    time.sleep(0.15)
    beats["far"] = 1
    assert pulse.alive(owner)
    time.sleep(0.15)
    assert not pulse.alive(owner)
    assert not Pulse(lambda: {"far": None}).alive(owner), "a run that was closed"


def test_a_heart_beats_until_it_is_stopped_and_outlives_a_failure():
    counts = []

    def beat(count):
        counts.append(count)
        if count == 2:
            raise OSError("the storage is away")

    heart = Heart(beat, seconds=0.005)
    while len(counts) < 4:
        time.sleep(0.001)
    heart.stop()
    assert counts[:4] == [1, 2, 3, 4]
    n_beats = len(counts)
    time.sleep(0.03)
    assert len(counts) == n_beats
