"""The figures of the workbook: one look, colors for color-blind readers, a statement as title, a text alternative each.

Every figure is a function that takes arrays or tables and returns a matplotlib Figure; its title is worked out from the data,
and `fig.alt` describes it in words. `show(fig)` puts it into a notebook with that text, `show(fig, folder)` saves it as well.
"""

# ruff: noqa: F401

from .codes import code_maps, code_rows, exchange_matrix, motion_difference_maps, probe_grid
from .data import missing_cells, missing_joints, walk_lengths
from .drawing import BLUE, embedded, show, show_picture
from .recognition import (
    ablation_chart,
    cmc,
    det,
    rank1_against_cost,
    rank1_bars,
    rank1_heat_map,
    rank1_matrix,
    rank1_over_axis,
    score_histograms,
)
from .training import NETWORK, training_curves, validation_curves
from .walks import animation, gait_cycles, gait_spread, joint_errors, saliency, skeleton_strip
