import numpy as np
import pandas as pd

from gaitlib.display import figures


def test_training_curves_ring_the_best_iteration(labeled):
    history = pd.DataFrame(
        {
            "iteration": [1, 100, 200, 300],
            "reconstruction": [9.0, 3, 1, 0.5],
            "view_swap": [8.0, 2, 1, 0],
            "validation_rank1": [np.nan, 0.5, 0.8, 0.7],
        }
    )
    fig = labeled(figures.training_curves(history))
    assert "80.0 % at iteration 200" in fig.alt
    assert [line.get_label() for line in fig.axes[0].lines] == ["reconstruction", "view swap"]
    assert figures.training_curves(history.assign(validation_rank1=np.nan)).alt.startswith("Training ran for 300 iterations")
    fig = labeled(figures.training_curves(history.rename(columns={"validation_rank1": "validation_rank1_same_view"})))
    assert "Validation rank-1 in the same view is best with 80.0 % at iteration 200" in fig.alt
    assert len(fig.axes[0].lines) == 2  # it is no loss


def test_validation_curves_of_runs():
    history = pd.DataFrame({"iteration": [1, 2, 3], "validation_rank1": [0.1, np.nan, 0.4]})
    figure = figures.validation_curves({"a": history, "b": history * [1, 2]})
    assert figure.alt.endswith("Best: a 40.0 %, b 80.0 %.")
    assert len(figure.axes[0].lines[0].get_xdata()) == 2
