"""Rank-1 of a configuration by cross-validation over the training people of its protocol: test people are never used.

    python benchmarks/cross_validation.py DATA [--config configs/kgbd.yaml] [--folds 3] [--only 0,1] [--set key=value ...]

DATA is a data set folder made by `gaitlib prepare` or `gaitlib walkers`. In each fold every n-th person is for testing; the
others train, and some of them validate, as in the protocol. Gallery and probes are the protocol's. Without DATA it does nothing.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from gaitlib.config import load_config
from gaitlib.data.dataset import GaitDataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.protocol import Protocol
from gaitlib.evaluation.embedding import embed_walks
from gaitlib.evaluation.ranking import rank_matrix
from gaitlib.model.checkpoint import load_model
from gaitlib.training import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--config", default="configs/kgbd.yaml")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--only", default="", help="folds to run, separated by commas")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    options = parser.parse_args()
    if not options.data:
        print("No data set was given; see --help.")
        return
    config = load_config(options.config, options.changes)
    protocol = Protocol.named(config.protocol)
    dataset = GaitDataset.open(options.data)
    split = protocol.split(dataset)
    people = sorted({*split.train.index["subject"], *split.validation.walks.index["subject"]})
    found = []
    for fold in [int(f) for f in options.only.split(",")] if options.only else range(options.folds):
        test = people[fold :: options.folds]
        part = dataclasses.replace(protocol, train=sorted(set(people) - set(test)), test=test).split(
            GaitDataset.open(options.data)
        )
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            train(config, part, folder)
            model, _ = load_model(Path(folder))
        walks = normalize(part.test.walks)
        embeddings = embed_walks(model, walks, stride=config.evaluation.stride, mirrored=config.evaluation.mirrored)
        rows = {}
        for name, probes in part.test.probes.items():
            matrix = rank_matrix(embeddings, part.test.gallery, probes, name)
            rows[name] = (matrix.mean(), matrix.same_view_mean())
        found.append(rows)
        text = "  ".join(f"{name} {100 * other:.1f} / {100 * same:.1f}" for name, (other, same) in rows.items())
        print(f"fold {fold}: {text}  ({time.monotonic() - began:.0f} s)", flush=True)
    for name in found[0]:
        other, same = 100 * np.mean([rows[name] for rows in found], 0)
        print(f"{name}: other views {other:.1f} %, same view {same:.1f} %, mean of {len(found)} folds")


if __name__ == "__main__":
    main()
