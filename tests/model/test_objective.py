"""The terms of a batch against slow loops over windows, frames and shifts, written from the method's description.

Each window is encoded and decoded by itself and each of the sixty time shifts is a separate evaluation; every term agrees in
value and in its gradient to all parameters, in 64 bits.
"""

import math

import pytest
import torch

from gaitlib.config import TERMS, load_config
from gaitlib.model.objective import Windows, loss_terms, needs_another_person
from gaitlib.model.recognizer import GaitModel

FRAMES, PAIRS, PEOPLE = 36, 3, 4
SMALL = [
    "model.recognizer_width=2", "model.embedding=5", "model.encoder_width=6", "model.encoder_kernel=5", "model.discriminants=0",
    f"model.window={FRAMES}",
]  # fmt: skip
IN_BATCH = {"synchronous": (True, False, True), "other": (1, 0, 2)}  # the last anchor finds no other person
NONE = {"synchronous": (False, False, False), "other": (0, 1, 2)}
ANGLES = (0.3, -2.0, 1.5, 0.2, float("nan"), 3.0)
EVERYBODY = {"synchronous": (True, True, True), "other": (2, 0, 1)}


def windows_of(arm, x, target, synchronous=(True, False, True), other=(1, 0, 2)):
    """In `as_released` x_i are windows of their own and only the anchors are named."""
    subject = [2, 0, 3, 2, 0, 3]
    if arm == "as_released":
        synchronous, other, subject = (False,) * PAIRS, range(2 * PAIRS, 3 * PAIRS), subject[:PAIRS]
    angle = torch.tensor((ANGLES * 2)[: len(x)], dtype=torch.float64)
    return Windows(x, target, *map(torch.tensor, (list(other), synchronous, subject)), angle)


# -- the method, slowly; one window is [30, T], a code sequence [128, T], a code [128]


def mean(numbers):
    return sum(numbers) / len(numbers) if len(numbers) else torch.zeros((), dtype=torch.float64, requires_grad=True)


def value(number):
    return number.item()


def mse(a, b):
    return ((a - b) ** 2).sum() / a.numel()


def joint_distance(a, b):
    distances = [((a[j : j + 2, t] - b[j : j + 2, t]) ** 2).sum() + 1e-5 for j in range(0, 30, 2) for t in range(FRAMES)]
    return mean([d.sqrt() for d in distances])


def shifted_errors(prediction, target):
    """Sixty numbers: 0..29 frames in both directions, the last frame of the overlap left out, divided by 64 - shift."""
    frames, errors = prediction.shape[1], []
    for shift in range(30):
        n = frames - shift - 1
        errors.append(mse(prediction[:, :n], target[:, shift : shift + n]) / (frames - shift))
        errors.append(mse(prediction[:, shift : shift + n], target[:, :n]) / (frames - shift))
    return errors


def as_released_program_sees(window):
    return window.T.reshape(FRAMES, 15, 2).reshape(30, FRAMES)


def pose_error(pairs, losses, scrambled):
    """Of (prediction, target) of the pairs that count."""
    if losses.reconstruction_error == "frame":
        return mean([mse(p, t) for p, t in pairs])
    if losses.reconstruction_error == "distance":
        return mean([joint_distance(p, t) for p, t in pairs])
    if scrambled:
        pairs = [(as_released_program_sees(p), as_released_program_sees(t)) for p, t in pairs]
    tables = [shifted_errors(p, t) for p, t in pairs]
    if losses.time_shift == "batch":
        return min([mean([table[s] for table in tables]) for s in range(60)], key=value)
    return mean([min(table, key=value) for table in tables])


def body_over_time(sequence, rewards):
    if rewards == "constancy":
        return 1 - mean([cosine(sequence[:, t], sequence[:, t + 1]) for t in range(FRAMES - 1)])
    later = [(t + 2) % FRAMES for t in range(FRAMES - 1)]
    return mean([abs(cosine(channel[: FRAMES - 1], channel[later])) for channel in sequence])


def cosine(a, b):
    return (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())


def margin(near, far):
    return max(near - far + 1, torch.zeros_like(near), key=value)


def triplet(anchor, positive, negative, scalar=False):
    if scalar:
        return mean([margin(abs(a - p), abs(a - n)) for a, p, n in zip(anchor, positive, negative, strict=True)])
    return margin(((anchor - positive) ** 2).sum().sqrt(), ((anchor - negative) ** 2).sum().sqrt())


def cross_entropy(logits, who, smoothing, over):
    share = torch.log(torch.exp(logits) / torch.exp(logits).sum())
    wanted = [smoothing / (PEOPLE if over == "all" else PEOPLE - 1)] * PEOPLE
    wanted[who] = 1 - smoothing + (smoothing / PEOPLE if over == "all" else 0)
    return -sum(w * s for w, s in zip(wanted, share, strict=True))


def contrastive(embeddings, subject, temperature):
    z = [e / (e * e).sum().sqrt() for e in embeddings]
    rows = []
    for k in range(len(z)):
        others = [j for j in range(len(z)) if j != k]
        total = sum(torch.exp(z[k] @ z[j] / temperature) for j in others)
        same = [j for j in others if subject[j] == subject[k]]
        if same:
            rows.append(mean([-torch.log(torch.exp(z[k] @ z[j] / temperature) / total) for j in same]))
    return mean(rows)


def slow_terms(model, windows, losses):
    scrambled = model.settings["layout"] == "scrambled"
    x, target = windows.x, windows.target
    other, synchronous, subject, angle = (numbers.tolist() for numbers in windows[2:])
    codes = [model.autoencoder.encode(window[None]) for window in x]
    m, b, v = ([c[part][0] for c in codes] for part in range(3))
    anchors = range(PAIRS)
    together = [k for k in anchors if synchronous[k] or losses.frame_by_frame == "all"]
    with_other = [k for k in anchors if other[k] != k]

    def decode(motion, body, view):
        return model.autoencoder.decode(m[motion][None], b[body][None], v[view][None])[0]

    def error(pairs):
        return pose_error(pairs, losses, scrambled)

    result = {}
    result["reconstruction"] = (
        error([(decode(k, k, k), target[k]) for k in anchors]) / 2
        + error([(decode(PAIRS + k, PAIRS + k, PAIRS + k), target[PAIRS + k]) for k in anchors]) / 2
    )
    if losses.view_code_of == "another":  # x from x_v and the view code of x_i
        made_of = {k: (PAIRS + k, other[k], k) for k in together if k in with_other}
    else:  # x_v from x and its own view code
        made_of = {k: (k, PAIRS + k, PAIRS + k) for k in together}
    exchanged = {k: decode(walk, walk, seen) for k, (walk, seen, _) in made_of.items()}
    result["view_exchange"] = error([(exchanged[k], target[wanted]) for k, (_, _, wanted) in made_of.items()])
    if losses.view_code_of == "both":
        back = error([(decode(PAIRS + k, PAIRS + k, k), target[k]) for k in together])
        result["view_exchange"] = (result["view_exchange"] + back) / 2
    result["view_swap"] = error([(decode(k, k, other[k]), target[k]) for k in with_other])
    if len(x) == 3 * PAIRS:
        back = error([(decode(other[k], other[k], k), target[other[k]]) for k in with_other])
        result["view_swap"] = (result["view_swap"] + back) / 2
    again = {k: model.autoencoder.encode(pose[None]) for k, pose in exchanged.items()}
    result["cycle"] = mean(
        [
            mse(again[k].motion[0], m[walk]) + mse(again[k].body[0], b[walk]) + mse(again[k].view[0], v[seen])
            for k, (walk, seen, _) in made_of.items()
        ]
    )

    def usual(codes):
        """The mean squared difference of a number of two codes taken at random; 1 where errors are absolute."""
        if losses.invariance == "absolute":
            return 1
        middle = mean(codes)
        return 2 * mean([mse(code, middle) for code in codes])

    result["invariance_motion"] = mean([mse(m[k], m[PAIRS + k]) for k in together]) / usual(m[: 2 * PAIRS])
    result["invariance_body"] = mean([mse(b[k], b[PAIRS + k]) for k in anchors]) / usual(b[: 2 * PAIRS])
    others = [v[other[k]] for k in anchors]
    result["invariance_view"] = mean([mse(v[k], others[k]) for k in with_other]) / usual([*v[:PAIRS], *others])
    if losses.camera:
        ways = [(view[:2] + view[2:]) / ((view[:2] + view[2:]) ** 2).sum().sqrt() for view in v]
        known = [(way, math.cos(a), math.sin(a)) for way, a in zip(ways, angle, strict=True) if not math.isnan(a)]
        result["camera"] = mean([1 - way[0] * cosine - way[1] * sine for way, cosine, sine in known])
    if losses.body_over_time:
        sequence = [c.body_sequence[0] for c in codes]
        result["body_over_time"] = sum(
            mean([body_over_time(sequence[side + k], losses.body_over_time_rewards) for k in anchors]) for side in (0, PAIRS)
        )
    scalar = losses.triplet_distance == "scalar"
    pooled = [motion.max(1).values for motion in m]
    result["triplet"] = (
        mean([triplet(b[k], b[PAIRS + k], b[other[k]], scalar) for k in with_other])
        + mean([triplet(v[k], v[other[k]], v[PAIRS + k], scalar) for k in with_other])
        + mean([triplet(pooled[k], pooled[PAIRS + k], pooled[other[k]]) for k in with_other])
    )
    seen = [model(window[None])[1:] for window in x[: len(subject)]]
    embeddings = [embedding[0] for embedding, _ in seen]
    result["identity"] = mean(
        [cross_entropy(y[0], s, losses.label_smoothing, losses.smoothing_over) for (_, y), s in zip(seen, subject, strict=True)]
    )
    if losses.center:
        centers = model.recognizer.center_loss.centers
        result["center"] = mean([((e - centers[s]) ** 2).sum() for e, s in zip(embeddings, subject, strict=True)])
    result["contrastive"] = contrastive(embeddings, subject, losses.temperature)
    return result


# -- the comparison


def setting(arm, *changes):
    config = load_config(f"configs/{arm}.yaml", [*SMALL, *changes])
    torch.manual_seed(0)
    model = GaitModel(people=PEOPLE, **config.model.model_dump()).double().eval()
    windows = (3 if arm == "as_released" else 2) * PAIRS
    walk = torch.randn(windows, 30, FRAMES + 8, dtype=torch.float64).cumsum(2) / 5  # smooth, so that the shift matters
    return config.losses, model, walk[..., 4 : 4 + FRAMES]


def assert_same(model, ours, wanted):
    parameters = [p for p in model.parameters() if p.requires_grad]
    for name, term in ours.items():
        torch.testing.assert_close(term, wanted[name], rtol=0, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
        if not term.requires_grad:
            continue
        gradients = (
            torch.autograd.grad(t, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
            for t in (term, wanted[name])
        )
        for got, want in zip(*gradients, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-9, msg=lambda text, name=name: f"gradient of {name}: {text}")


@pytest.mark.parametrize(
    ("arm", "changes", "masks"),
    [
        ("as_published", ["losses.contrastive=1"], IN_BATCH),
        ("as_published", ["losses.contrastive=1"], EVERYBODY),
        ("as_published", ["losses.time_shift=batch", "losses.smoothing_over=all"], IN_BATCH),
        ("as_published", ["losses.triplet_distance=scalar", "losses.body_over_time_rewards=change"], IN_BATCH),
        ("as_published", ["losses.reconstruction_error=frame", "losses.frame_by_frame=all"], IN_BATCH),
        ("as_published", ["losses.reconstruction_error=distance", "losses.invariance=relative"], IN_BATCH),
        ("as_published", ["losses.view_code_of=another", "losses.reconstruction_error=frame"], IN_BATCH),
        ("as_published", ["losses.view_code_of=another"], EVERYBODY),
        ("as_released", ["losses.view_code_of=another", "losses.view_exchange=1", "losses.cycle=1"], {}),
        ("as_published", ["model.layout=scrambled"], EVERYBODY),
        ("as_released", [], {}),
        ("as_released", ["losses.cycle=1", "losses.view_exchange=1", "losses.time_shift=window"], {}),
        ("as_released", ["losses.reconstruction_error=frame", "losses.cycle=1", "model.layout=trajectories"], {}),
        ("default", ["losses.view_swap=1", "losses.invariance_view=1", "losses.cycle=1"], IN_BATCH),
        ("default", ["losses.invariance=absolute"], EVERYBODY),
    ],
)
def test_every_term_is_that_of_the_method(arm, changes, masks):
    losses, model, x = setting(arm, *changes)
    if arm == "as_released":
        x = x.clone()
        x[-1] = 0  # a partner that does not exist
    target = x + 0.05 * torch.randn_like(x)
    windows = windows_of(arm, x, target, **masks)
    ours = loss_terms(model, windows, losses)
    assert set(ours) == {name for name in TERMS if getattr(losses, name)} | set(losses.logged)
    assert_same(model, ours, slow_terms(model, windows, losses))


@pytest.mark.parametrize("shift", ["window", "batch"])
@pytest.mark.parametrize("error", ["aligned", "frame"])
def test_where_nobody_counts_a_term_is_zero_and_so_is_its_gradient(shift, error):
    losses, model, x = setting("as_published", f"losses.time_shift={shift}", f"losses.reconstruction_error={error}")
    windows = windows_of("as_published", x, x, **NONE)
    ours = loss_terms(model, windows, losses)
    for name in ("view_exchange", "view_swap", "invariance_motion", "invariance_view", "triplet", "cycle"):
        assert ours[name].item() == 0, name
    assert_same(model, ours, slow_terms(model, windows, losses))


def test_each_side_of_the_view_swap_counts_half():
    """Where the anchors are each other's x_i, what is counted once is the published half of x and half of x_i."""
    losses, model, x = setting("as_published")
    windows = windows_of("as_published", x, x)
    ours = loss_terms(model, windows, losses)["view_swap"]
    c = model.autoencoder.encode(x)
    both = []
    for k, i in ((0, 1), (1, 0)):
        of_x = model.autoencoder.decode(c.motion[[k]], c.body[[k]], c.view[[i]])[0]
        of_x_i = model.autoencoder.decode(c.motion[[i]], c.body[[i]], c.view[[k]])[0]
        both.append(min(shifted_errors(of_x, x[k]), key=value) / 2 + min(shifted_errors(of_x_i, x[i]), key=value) / 2)
    torch.testing.assert_close(ours, mean(both), rtol=0, atol=1e-12)


def test_what_is_only_logged_has_no_gradient_and_no_effect_on_the_others():
    losses, model, x = setting("as_released")
    windows = windows_of("as_released", x, x)
    ours = loss_terms(model, windows, losses)
    assert not ours.pop("cycle").requires_grad
    silent = loss_terms(model, windows, losses.model_copy(update={"logged": []}))
    assert_same(model, ours, silent)
    assert ours.keys() == silent.keys()


def test_the_published_weights():
    """Those of the paper, and the same in both arms but for what the released program leaves out."""
    published, released = (load_config(f"configs/{arm}.yaml").losses for arm in ("as_published", "as_released"))
    weights = {
        "reconstruction": 10000, "view_swap": 10000, "invariance_body": 200, "invariance_motion": 200, "invariance_view": 500,
        "body_over_time": 100, "triplet": 100, "identity": 1, "center": 0.008, "contrastive": 0,
    }  # fmt: skip
    for losses in (published, released):
        assert {name: getattr(losses, name) for name in weights} == weights
        assert (losses.label_smoothing, losses.smoothing_over) == (0.1, "others")
    assert (released.view_exchange, released.cycle, released.logged) == (0, 0, ["cycle"])
    assert published.view_exchange > 0 < published.cycle


@pytest.mark.parametrize(
    ("arm", "changes", "needed"),
    [
        ("default", [], False), ("default", ["losses.view_swap=1"], True), ("default", ["losses.logged=[invariance_view]"], True),
        ("default", ["losses.view_code_of=another"], True), ("as_published", [], True), ("as_released", [], True),
    ],
)  # fmt: skip
def test_only_some_losses_need_another_person_in_the_same_view(arm, changes, needed):
    assert needs_another_person(load_config(f"configs/{arm}.yaml", changes).losses) == needed
