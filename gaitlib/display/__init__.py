"""Figures, walking skeletons, and the explorers of notebook 04."""

from gaitlib.display.exchange import ExchangeExplorer
from gaitlib.display.identify import WhoIsIt

__all__ = ["ExchangeExplorer", "WhoIsIt"]
