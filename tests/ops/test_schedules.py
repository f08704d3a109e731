import numpy as np
import pytest

from tandem.ops.schedules import warmup_cosine


def test_rate_climbs_to_the_peak_falls_as_a_cosine_and_stays():
    schedule = warmup_cosine(2.0, 4, 14, 0.1)
    rates = [float(schedule(step)) for step in range(20)]
    np.testing.assert_allclose(rates[:5], [0.5, 0.875, 1.25, 1.625, 2.0])
    np.testing.assert_allclose(rates[4:15], [0.2 + 0.9 * (1 + np.cos(np.pi * k / 10)) for k in range(11)], rtol=1e-5)
    np.testing.assert_allclose(rates[14:], 0.2, rtol=1e-5)


@pytest.mark.parametrize(("warmup", "total"), [(0, 5), (0, 0), (7, 3)])
def test_no_warmup_and_short_runs_work(warmup: int, total: int):
    rates = [float(warmup_cosine(1.0, warmup, total, 0.5)(step)) for step in range(12)]
    assert max(rates) == 1.0 and min(rates) > 0.0 and rates[-1] == 0.5
