import pytest

from tests.diagnostics.problems import run


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("table", "seed"), [("hastie", 40), ("hastie", 45), ("classes", 41)])
@pytest.mark.slow
def test_the_trend_of_the_loss_is_found_although_single_epochs_rise(table, seed):
    result = run("stopped too early", table, seed)
    assert result.certainty >= 0.8, result.names
