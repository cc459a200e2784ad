"""Notebooks with fewer cells, for tests of what surrounds them: they compute and keep the same, and show nothing."""

import nbformat

OPEN = "from gaitlib.experiment import Experiment\nexperiment = Experiment.open(config, data=data, run=run, cache=cache, {more})"
TRAIN = "experiment.trained()\nexperiment.keep_training()"
EVALUATE = "experiment.keep_results(experiment.evaluate(), experiment.ablations(), experiment.scorecard(), experiment.exchange())"


def shorten(path, *codes):
    """Leave a notebook its title, a cell, its parameters, and these cells instead of all others."""
    notebook = nbformat.read(path, as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    first, *rest = [nbformat.v4.new_code_cell(code) for code in ("1 + 1", *codes)]
    notebook.cells = [notebook.cells[0], first, parameters, *rest]
    nbformat.write(notebook, path)
