import pytest
from matplotlib.figure import Figure


@pytest.fixture
def texts():
    """The texts inside the axes of a figure."""
    return lambda fig: [t.get_text() for ax in fig.axes for t in ax.texts]


@pytest.fixture
def labeled():
    """Checks that a figure has a statement, labeled axes and a text alternative, and returns it."""

    def check(fig):
        assert isinstance(fig, Figure)
        assert len(fig.alt) > 20
        assert any(ax.get_title(loc="left") for ax in fig.axes) or fig._suptitle is not None
        assert all(ax.get_xlabel() or ax.get_ylabel() for ax in fig.axes)
        return fig

    return check
