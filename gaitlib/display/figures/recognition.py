"""Figures of recognition: rank-1 by condition, view and setting, CMC and DET curves, scores, and what recognition rests on."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.special import ndtri

from gaitlib.display.figures import drawing
from gaitlib.display.figures.drawing import BLUE, DASHES, FAINT, GREEN, INK, MARKERS, MUTED, ORANGE, PALE
from gaitlib.evaluation.verification import Scores
from gaitlib.rounding import percent

#: Ticks of a DET curve, and where its axes end.
DET_TICKS, DET_ENDS = (0.001, 0.01, 0.05, 0.2, 0.5), (0.0005, 0.7)
#: Kinds of ablations and their colors.
ABLATIONS = {"input": BLUE, "halves": GREEN, "codes": ORANGE}
#: Where the colors of rank-1 begin, unless it is lower somewhere: most values of a trained network lie above.
LOWEST_RANK1 = 0.6


def _with_ends(share: float, low: float, high: float) -> str:
    return f"{percent(share)} %" + ("" if np.isnan(low) else f" ({percent(low)} to {percent(high)})")


def _listed(shares: Mapping[str, float], digits: int = 1) -> str:
    return ", ".join(f"{name} {percent(share, digits)} %" for name, share in shares.items())


@drawing.styled
def rank1_bars(table: pd.DataFrame) -> Figure:
    """Rank-1 with 95 % intervals; columns condition, arm ("model", ...), rank1, low, high; shares 0..1, ends may be NaN."""
    conditions, arms = table["condition"].unique(), table["arm"].unique()
    ax = Figure(figsize=(8, 4)).subplots()
    width = 0.76 / len(arms)
    bars, reached = [], []
    for k, arm in enumerate(arms):
        part = table[table["arm"] == arm].set_index("condition").reindex(conditions)
        reached.append(f"{100 * part['rank1'].mean():.0f} %")
        x = np.arange(len(conditions)) + (k - (len(arms) - 1) / 2) * width
        value, low, high = (100 * part[c].to_numpy(float) for c in ("rank1", "low", "high"))
        color, hatch = ((BLUE, ""), (PALE, "///"), (ORANGE, ".."), (GREEN, "xx"))[k % 4]
        bars.append(ax.bar(x, value, width * 0.9, color=color, hatch=hatch, edgecolor=drawing.PAPER, lw=0, label=arm))
        ax.errorbar(x, value, drawing.whiskers(value, low, high), fmt="none", ecolor=INK, elinewidth=1.3, capsize=4)
        for place, v, top in zip(x, value, np.fmax(high, value), strict=True):
            if np.isfinite(v):
                ax.text(place, top + 1.5, f"{v:.0f}", ha="center", va="bottom", weight="bold", size=10)
    ax.set_xticks(range(len(conditions)), conditions)
    ax.set(yticks=range(0, 101, 20), ylim=(0, 109), ylabel="rank-1 (%), whiskers: 95 % interval", xlabel="probe condition")
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="y")
    ax.legend(handles=bars, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=len(arms))
    text = f"{arms[0][:1].upper()}{arms[0][1:]} reaches {reached[0]} rank-1 on average"
    text += "".join(f", {arm} {mean}" for arm, mean in zip(arms[1:], reached[1:], strict=True))
    each = "; ".join(f"{r.condition}, {r.arm}: {_with_ends(r.rank1, r.low, r.high)}" for r in table.itertuples())
    return drawing.stated(ax, text, f"{each}.")


@drawing.styled
def rank1_matrix(rank1: pd.DataFrame, condition: str) -> Figure:
    """Rank-1 of each probe view against each gallery view, with the means over other views in both margins.

    rank1: shares 0..1, rows = probe views, columns = the same as gallery views; NaN = not measured. The same view is hatched, its
        number shown in gray and left out of the means. condition: of the probes.
    Colors run from LOWEST_RANK1, or the ten percent below the lowest cell, to 100 %.
    """
    names, table = [str(view) for view in rank1.index], rank1.to_numpy(float)
    n = len(names)
    other = pd.DataFrame(np.where(np.eye(n, dtype=bool), np.nan, table))
    by_probe, by_gallery, mean = other.mean(axis=1), other.mean(axis=0), float(np.nanmean(other)) if n > 1 else np.nan
    low = min(LOWEST_RANK1, np.floor(10 * np.nanmin(other)) / 10) if n > 1 else LOWEST_RANK1
    colors = mpl.cm.ScalarMappable(mpl.colors.Normalize(100 * low, 100), drawing.DARK_IS_GOOD)
    side, margin = max(4.4, min(8.0, 0.62 * (n + 2) + 0.9)), n + 0.35
    ax = Figure(figsize=(max(side, 6.4), side)).subplots()
    size = 9.5 if n <= 12 else 7
    for p in range(n):
        for g in range(n):
            _cell(ax, g, p, table[p, g], None if p == g else colors, size=size)
        _cell(ax, margin, p, by_probe[p], colors, size=size, weight="bold")
        _cell(ax, p, margin, by_gallery[p], colors, size=size, weight="bold")
    _cell(ax, margin, margin, mean, colors, size=size, weight="bold")
    ticks, labels, unit = [*(np.arange(n) + 0.5), margin + 0.5], [*names, "mean"], drawing.unit_of(names)
    ax.set(xticks=ticks, yticks=ticks, xticklabels=labels, yticklabels=labels, xlim=(0, margin + 1), ylim=(margin + 1, 0))
    ax.set(aspect="equal", xlabel=f"gallery view{unit}", ylabel=f"probe view{unit}")
    drawing.bare(ax)
    drawing.color_bar(colors, ax, f"rank-1 (%), colors from {100 * low:.0f} to 100; dark is good", pad=0.03, shrink=0.75)
    best, worst = (by_probe.idxmax(), by_probe.idxmin()) if n > 1 else (0, 0)
    details = (
        f"{n} by {n} heat map, rows are probe views, columns gallery views, the same view hatched. Best probe view "
        f"{names[best]} with {percent(by_probe[best])} %, worst {names[worst]} with {percent(by_probe[worst])} %."
    )
    return drawing.stated(ax, f"{condition}: {percent(mean)} % rank-1 on average across views", details, 60)


def _cell(ax: Axes, x: float, y: float, share: float, colors: mpl.cm.ScalarMappable | None, **look) -> None:
    """A cell with its percentage, colored, or hatched and gray where there are no colors; look: of the text."""
    if np.isnan(share):
        return
    if colors:
        color = colors.to_rgba(100 * share)
        ax.add_patch(Rectangle((x, y), 1, 1, facecolor=color, edgecolor=drawing.PAPER, lw=1.5))
        look["color"] = drawing.readable(color)
    else:
        ax.add_patch(Rectangle((x, y), 1, 1, facecolor=FAINT, edgecolor=PALE, hatch="////", lw=0))
        look = {"color": MUTED, "size": 9, "bbox": {"facecolor": FAINT, "edgecolor": "none", "pad": 1}}
    ax.text(x + 0.5, y + 0.5, percent(share, 0), ha="center", va="center", **look)


@drawing.styled
def rank1_over_axis(table: pd.DataFrame, axis: str) -> Figure:
    """Mean rank-1 of a grid's settings over one axis; columns value (a number), mean, low, high; shares 0..1, ends may be NaN."""
    table = table.astype({"value": float}).sort_values("value", kind="stable")
    value, (mean, low, high) = table["value"].to_numpy(), 100 * table[["mean", "low", "high"]].to_numpy().T
    ax = Figure(figsize=(8, 4)).subplots()
    ax.plot(value, mean, color=BLUE)
    ax.errorbar(value, mean, drawing.whiskers(mean, low, high), fmt="o", color=BLUE, ecolor=INK, elinewidth=1.3, capsize=4)
    ax.set_xticks(value, [f"{at:g}" for at in value])
    ends = np.nanmin([mean, low]) - 2, np.nanmax([mean, high]) + 2
    ax.set(xlabel=axis, ylabel="mean rank-1 (%), whiskers: 95 % interval", ylim=np.clip(ends, 0, 100))
    ax.grid(axis="y")
    best = mean.argmax()
    text = f"Mean rank-1 over {axis} is highest at {value[best]:g} with {percent(mean[best] / 100)} %"
    each = "; ".join(f"{r.value:g}: {_with_ends(r.mean, r.low, r.high)}" for r in table.itertuples())
    return drawing.stated(ax, text, f"{each}.")


@drawing.styled
def rank1_against_cost(table: pd.DataFrame) -> Figure:
    """Rank-1 of settings, with 95 % intervals over people, against what they cost, a panel a cost.

    Columns: name, mean, low, high (shares), then the costs. A setting whose cost is not known is left out of that panel, and a
    cost that is known of none has no panel.
    """
    costs = [cost for cost in table.columns[4:] if table[cost].notna().any()]
    fig = Figure(figsize=(9, 4.4))
    panels = fig.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    colors = (BLUE, ORANGE, GREEN, drawing.PURPLE, INK, MUTED)
    for ax, cost in zip(panels, costs, strict=True):
        drawn = []
        for k, row in enumerate(table.to_dict("records")):
            value, *ends = 100 * np.array([[row[name]] for name in ("mean", "low", "high")])
            look = {"fmt": MARKERS[k % 4], "color": colors[k % 6], "mfc": colors[k % 6] if k < 6 else "none", "ms": 8}
            whiskers = drawing.whiskers(value, *ends)
            drawn.append(ax.errorbar([row[cost]], value, whiskers, elinewidth=1.3, capsize=4, label=row["name"], **look))
        low, high = table[cost].min(), table[cost].max()
        ax.set(xscale="log", xlabel=cost, xlim=(low / 1.6, high * 1.6) if low > 0 else None)
        wide = high > 30 * low
        ax.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1,) if wide else (1, 2, 5)))
        ax.xaxis.set_major_formatter(lambda at, _: f"{at / 1e6:g} M" if at >= 1e5 else f"{at:g}")
        ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        ax.grid(axis="both")
    panels[0].set_ylabel("mean rank-1 (%), 95 % intervals")
    fig.legend(handles=drawn, loc="outside lower center", ncols=min(len(table), 3))
    first = table.loc[table["mean"].idxmax()]
    each = "; ".join(
        ", ".join([
            f"{row.iloc[0]} {_with_ends(*row.iloc[1:4])}",
            *(f"{row[cost]:,.{0 if row[cost] > 100 else 1}f} {cost}" for cost in costs if pd.notna(row[cost])),
        ])
        for _, row in table.iterrows()
    )  # fmt: skip
    return drawing.stated(fig, f"{first['name']} recognizes best, {percent(first['mean'])} % on average", f"{each}.")


@drawing.styled
def rank1_heat_map(shares: pd.DataFrame) -> Figure:
    """Mean rank-1 of a grid's settings, 0..1, NaN = not measured; index and columns are values of two axes, named after them."""
    down, across = shares.index.name, shares.columns.name
    settings = {f"{down} {row}, {across} {column}": share for (row, column), share in shares.stack().dropna().items()}
    ax = Figure(figsize=(8, min(8, 1.8 + 0.45 * len(shares)))).subplots()
    lowest, highest = 100 * min(settings.values()), 100 * max(settings.values())
    span = max(highest - lowest, 0.1)
    ends = lowest - span / 8, lowest + span  # the lowest is not quite white, as blank cells are
    image = drawing.cells(ax, 100 * shares, shares.map(percent), drawing.DARK_IS_GOOD, ends)
    drawing.color_bar(image, ax, "mean rank-1 (%); dark is good")
    ax.set(xlabel=across, ylabel=down)
    best = max(settings, key=settings.get)
    each = "; ".join(f"{name}: {percent(share)} %" for name, share in settings.items())
    return drawing.stated(ax, f"Mean rank-1 is highest with {best}: {percent(settings[best])} %", f"Heat map: {each}.", 60)


@drawing.styled
def cmc(curves: Mapping[str, np.ndarray]) -> Figure:
    """Share of probes whose person is among the first k of the gallery; curves: name -> float [K], shares 0..1 for rank 1..K."""
    ax = Figure(figsize=(8, 4)).subplots()
    for k, (name, curve) in enumerate(curves.items()):
        look = {"ls": DASHES[k % 4], "marker": MARKERS[k % 4], "ms": 5, "markevery": max(1, len(curve) // 10)}
        label = f"{name}, rank-1 {percent(curve[0])} %"
        ax.plot(range(1, len(curve) + 1), 100 * np.asarray(curve), clip_on=False, zorder=3, label=label, **look)
    low = np.floor(10 * min(np.min(curve) for curve in curves.values())) * 10
    ax.set(xlabel="rank k", ylabel="person among the k nearest (%)", ylim=(min(low, 90), 100), xlim=(1, None))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y")
    ax.legend(handles=list(ax.lines), loc="lower right")
    name, curve = max(curves.items(), key=lambda item: item[1][0])
    among = curve[:5]
    text = f"{name[:1].upper()}{name[1:]}: the right person is nearest in {100 * among[0]:.1f} % of cases, "
    text += f"among the nearest {len(among)} in {100 * among[-1]:.1f} %"
    return drawing.stated(ax, text, f"Rank-1: {_listed({name: curve[0] for name, curve in curves.items()})}.")


@drawing.styled
def det(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """False rejection against false acceptance; curves: name -> columns far, frr (shares 0..1), as `detection_error` gives."""
    ax = Figure(figsize=(5.6, 5.2)).subplots()
    errors, lines = {}, []
    for k, (name, curve) in enumerate(curves.items()):
        far, frr = curve["far"].to_numpy(), curve["frr"].to_numpy()
        if len(far):
            errors[name] = float((far + frr)[np.abs(far - frr).argmin()] / 2)
            shown = [ndtri(np.clip(share, 1e-5, 1 - 1e-5)) for share in (far, frr)]
            lines += ax.plot(*shown, ls=DASHES[k % 4], label=f"{name}, equal error rate {percent(errors[name])} %")
    ends, ticks, names = ndtri(DET_ENDS), ndtri(DET_TICKS), [f"{100 * share:g}" for share in DET_TICKS]
    ax.plot(ends, ends, color=FAINT, lw=1, zorder=0)
    ax.set(xticks=ticks, yticks=ticks, xticklabels=names, yticklabels=names, xlim=ends, ylim=ends, aspect="equal")
    ax.set(xlabel="different people accepted (%)", ylabel="the same person rejected (%)")
    ax.grid()
    if not lines:
        return drawing.stated(ax, "Nothing to verify", "There are no pairs of one person, or none of different people.")
    ax.legend(handles=lines, loc="best")
    best = min(errors, key=errors.get)
    text = f"{best} has {'the lowest' if len(errors) > 1 else 'an'} equal error rate of {percent(errors[best])} %"
    return drawing.stated(ax, text, f"Equal error rates: {_listed(errors)}.", 56)


@drawing.styled
def score_histograms(scores: Mapping[str, Scores]) -> Figure:
    """How far apart walks of one and of different people are; scores: probe set -> pairs, as `cross_view_scores` gives."""
    fig = Figure(figsize=(8, 1.1 + 1.5 * len(scores)))
    axes = fig.subplots(len(scores), squeeze=False)[:, 0]
    edges = np.linspace(0, max(float(-s.score.min()) for s in scores.values()), 70)
    overlaps = {}
    for ax, (name, s) in zip(axes, scores.items(), strict=True):
        shares = []
        for kind, color, hatch, label in ((s.same, BLUE, "", "same person"), (~s.same, ORANGE, "////", "different people")):
            counts = np.histogram(-s.score[kind], edges)[0]
            shares.append(counts / max(1, counts.sum()))
            ax.stairs(100 * shares[-1], edges, fill=True, color=color, alpha=0.45, hatch=hatch, label=label)
        overlaps[name] = float(np.minimum(*shares).sum())
        drawing.subtitle(ax, f"{name}: {percent(overlaps[name], 0)} % overlap", pad=4)
        ax.set_ylabel("pairs (%)")
        ax.tick_params(labelbottom=ax is axes[-1])
    axes[0].legend(loc="upper left")
    axes[-1].set_xlabel("distance of embeddings")
    most = max(overlaps, key=overlaps.get)
    text = f"Distances within and between people overlap by at most {percent(overlaps[most], 0)} % ({most})"
    return drawing.stated(fig, text, f"Overlap of the two histograms: {_listed(overlaps, 0)}.")


@drawing.styled
def ablation_chart(table: pd.DataFrame) -> Figure:
    """Mean rank-1 of ablations; columns kind, name, rank1 (has "mean"), ci95 ([low, high]); first the model as it is."""
    ax = Figure(figsize=(8, 0.27 * len(table) + 1.6)).subplots()
    value = 100 * np.array([row["mean"] for row in table["rank1"]], float)
    low, high = 100 * np.array(table["ci95"].tolist(), float).T
    place = np.arange(len(table)) + 0.6 * (table["kind"] != table["kind"].shift()).cumsum().to_numpy()
    for (kind, color), mark in zip(ABLATIONS.items(), MARKERS, strict=False):
        rows = (table["kind"] == kind).to_numpy()
        ends = drawing.whiskers(value[rows], low[rows], high[rows])
        ax.errorbar(value[rows], place[rows], xerr=ends, fmt=mark, ms=6, color=color, capsize=3, label=kind)
    ax.axvline(value[0], color=MUTED, lw=1, ls="--", zorder=0)
    ax.set_yticks(place, table["name"])
    ax.invert_yaxis()
    ax.set(xlim=(0, 101), xlabel="mean rank-1 across views (%), whiskers: 95 % interval")
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    changed = np.flatnonzero((table["kind"] == "input").to_numpy())[1:]
    worst = changed[value[changed].argmin()] if len(changed) else 0
    text = f"Rank-1 falls from {value[0]:.0f} % to {value[worst]:.0f} % with {table['name'].iloc[worst]}"
    each = "; ".join(f"{name} {share:.1f} %" for name, share in zip(table["name"], value, strict=True))
    return drawing.stated(ax.figure, text, f"{each}.")
