"""Recognition: from the codes of a window to an embedding, and from the embedding to the training people."""

import copy
import math
from inspect import signature

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib import InputError, networks
from gaitlib.data.preprocess import mirror
from gaitlib.model.autoencoder import ROWS, WINDOWS, Codes, PaperAutoencoder
from gaitlib.model.discriminants import MOST_DISCRIMINANTS, Discriminants, code_statistics
from gaitlib.model.geometric import GeometricAutoencoder


def normalized_conv(a: int, b: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalization, ReLU: [B, a, T] -> [B, b, T / stride]."""
    conv = nn.Conv1d(a, b, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(b), nn.ReLU(inplace=True))


class CenterLoss(nn.Module):
    """A learned center for each of the training people (Wen et al., "A discriminative feature learning approach", ECCV 2016).

    As released: the squared distance without the factor 1/2.
    """

    def __init__(self, people: int, embedding: int):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(people, embedding))

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """The mean squared Euclidean distance of embeddings [N, E] from the centers of their people, int64 [N] -> scalar."""
        return (embedding - self.centers.index_select(0, subject)).square().sum(1).mean()


class PaperRecognizer(nn.Module):
    """The published recognizer: the rows as a one-channel image [B, 1, R, T], four 3x3 convolutions, one large matrix.

    The rows are those of the chosen features over time; body and view enter as sequences. width: 32 as published.
    The released program has three more, unused convolutions, which are omitted.
    """

    def __init__(self, features: dict[str, int], frames: int, people: int, *, width: int = 32, embedding: int = 512):
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())

        self.features = list(features)
        rows = sum(features.values())
        self.conv1, self.conv2 = block(1, width), block(width, 2 * width)
        self.conv3, self.conv4 = block(2 * width, 2 * width), block(2 * width, 2 * width)
        self.pool = nn.MaxPool2d(2, 2, padding=1)
        self.fc = nn.Linear(2 * width * (rows // 2 + 1) * (frames // 2 + 1), embedding)
        self.fc_cls = nn.Linear(embedding, people)
        self.dropout = nn.Dropout(0.5)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter)
        self.center_loss = CenterLoss(people, embedding)

    def forward(self, x: Tensor, codes: Codes) -> tuple[Tensor, Tensor]:
        """[B, 30, T] and its codes -> embedding [B, E], logits [B, people]."""
        rows = {"pose": x, "motion": codes.motion, "body": codes.body_sequence, "view": codes.view_sequence}
        image = torch.cat([rows[name] for name in self.features], 1)[:, None]
        pooled = self.pool(self.conv2(self.conv1(image)))
        y = self.conv4(self.conv3(pooled)) + pooled
        embedding = self.fc(self.dropout(y.flatten(1)))
        return embedding, self.fc_cls(embedding)


class _Classified(nn.Module):
    """A recognizer whose embedding is taken before the batch normalization that feeds the classifier.

    Luo et al., "Bag of tricks and a strong baseline for deep person re-identification", CVPRW 2019.
    """

    def classify(self, embedding: int, people: int) -> None:
        """Add the classifier of embeddings of this length."""
        self.neck = nn.BatchNorm1d(embedding)
        self.neck.bias.requires_grad_(False)
        self.fc_cls = nn.Linear(embedding, people, bias=False)

    def classified(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """[B, E] -> itself and the logits [B, people]."""
        return embedding, self.fc_cls(self.neck(embedding))


class LeanRecognizer(_Classified):
    """Features that change over time (pose, motion) go through a temporal network; the others (body, view) bypass it.

    width: channels of the first layer; the others have half as many again.
    """

    def __init__(self, features: dict[str, int], people: int, *, width: int = 128, embedding: int = 256, dropout: float = 0.2):
        super().__init__()
        self.features = list(features)
        dynamic = features.get("pose", 0) + features.get("motion", 0)
        wide = width * 3 // 2
        if dynamic:
            self.temporal = nn.Sequential(
                nn.BatchNorm1d(dynamic),
                normalized_conv(dynamic, width, 5, stride=2),
                normalized_conv(width, wide, 5, stride=2),
                normalized_conv(wide, wide, 3),
            )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear((2 * wide if dynamic else 0) + sum(features.values()) - dynamic, embedding)
        self.classify(embedding, people)

    def forward(self, x: Tensor, codes: Codes | None) -> tuple[Tensor, Tensor]:
        """[B, 30, T] and its codes -> embedding [B, E], logits [B, people]."""
        known = {"pose": x, **(codes._asdict() if codes else {})}
        dynamic, parts = [], []
        for name in self.features:
            (parts if known[name].ndim == 2 else dynamic).append(known[name])
        if dynamic:
            y = self.temporal(torch.cat(dynamic, 1))
            parts += [y.mean(2), y.max(2).values]
        return self.classified(self.fc(self.dropout(torch.cat(parts, 1))))


class NetworkRecognizer(_Classified):
    """A network of the user or of a peer as a recognizer.

    network: turns windows, float32 [B, 30, T], and their codes if its forward() has an argument `codes`, into embeddings [B, E].
    x, codes: two windows and their codes, with which E is found; name: what errors call the network.
    Raises InputError if the network fails on them, or gives something else.
    """

    def __init__(self, network: nn.Module, people: int, x: Tensor, codes: Codes | None, name: str):
        super().__init__()
        self.network, self.takes_codes = network, "codes" in signature(network.forward).parameters
        if self.takes_codes and not codes:
            raise InputError(f"The network {name} takes codes, but there is no autoencoder; set model.autoencoder.")
        shape = list(x.shape)
        probed = copy.deepcopy(network).to("meta") if x.is_meta else network  # buffers made from numpy are on the CPU
        try:
            with torch.no_grad():
                found = self._of(probed.eval(), x, codes)
        except Exception as error:
            raise InputError(
                f"The network {name} fails on windows of shape {shape} ({type(error).__name__}: {error})."
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(x):
            given = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"The network {name} gives {given} for windows of shape {shape}; it must give embeddings [B, E].")
        self.size = found.shape[1]
        self.classify(self.size, people)

    def _of(self, network: nn.Module, x: Tensor, codes: Codes | None) -> Tensor:
        return network(x, codes=codes) if self.takes_codes else network(x)

    def forward(self, x: Tensor, codes: Codes | None) -> tuple[Tensor, Tensor]:
        """[B, 30, T] and its codes -> embedding [B, E], logits [B, people]."""
        return self.classified(self._of(self.network, x, codes))


class GaitModel(nn.Module):
    """The autoencoder and a recognizer on its codes; the content of a checkpoint.

    autoencoder: "geometric", "paper", or "none" for a recognizer of poses alone.
    recognizer: "paper", "lean", or "none" for an autoencoder alone; features: which of pose, motion, body, view it sees.
    network: a class in its place, see gaitlib.networks; network_arguments: its keyword arguments.
    end_to_end: the identity loss reaches the encoders; otherwise (as published) it trains only the recognizer.
    discriminants: the weight of discriminants of the codes, relative to the learned embedding; 0: none.
    discriminant_people: how many people these are fitted on; 0: as many as `people`.
    body_discriminants: how many numbers of the geometric autoencoder's body code are discriminants of the pose statistics.
    """

    def __init__(
        self,
        *,
        people: int,
        window: int = 64,
        autoencoder: str = "geometric",
        layout: str = "trajectories",
        static_rows: int = ROWS,
        decoder_dropout: float = 0.2,
        encoder_width: int = 128,
        encoder_kernel: int = 9,
        recognizer: str = "lean",
        network: str = "",
        network_arguments: dict | None = None,
        recognizer_width: int = 128,
        embedding: int = 256,
        features: list[str] = ("motion", "body"),
        end_to_end: bool = True,
        discriminants: float = 0.0,
        discriminant_people: int = 0,
        body_discriminants: int = 0,
    ):
        super().__init__()
        self.settings = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.settings["features"] = self.features = list(features)
        self.window, self.end_to_end = window, end_to_end
        fewer = (discriminant_people or people) - 1
        self.autoencoder = None
        if autoencoder == "paper":
            self.autoencoder = PaperAutoencoder(layout=layout, static_rows=static_rows, dropout=decoder_dropout)
        elif autoencoder == "geometric":
            self.autoencoder = GeometricAutoencoder(encoder_width, encoder_kernel, min(body_discriminants, fewer))
        sizes = self.autoencoder.sizes if self.autoencoder else {"pose": ROWS}
        seen = {name: sizes[name] for name in self.features if name in sizes}
        self.recognizer = None
        if network:
            x, own = torch.zeros(2, ROWS, window), _network(network, network_arguments or {})
            self.recognizer = NetworkRecognizer(own, people, x, self.eval().encode(x), network)
            self.settings |= {"network": networks.short(network), "embedding": self.recognizer.size}
            self.train()
        elif recognizer == "paper":
            self.recognizer = PaperRecognizer(seen, window, people, width=recognizer_width, embedding=embedding)
        elif recognizer == "lean":
            self.recognizer = LeanRecognizer(seen, people, width=recognizer_width, embedding=embedding)
        self.discriminant_weight, self.discriminants = discriminants, None
        if discriminants:
            statistics = 6 * sizes["motion"] + sizes["body"]
            self.discriminants = Discriminants(statistics, min(fewer, statistics, MOST_DISCRIMINANTS))

    @property
    def fitted(self) -> bool:
        """Whether a part of the model is fitted in closed form once the weights are known."""
        return bool(self.autoencoder and self.autoencoder.fitted) or self.discriminants is not None

    @property
    def embedding_size(self) -> int:
        """The length of the vectors from `embed`."""
        return self.settings["embedding"] + (self.discriminants.size if self.discriminants else 0)

    @property
    def size(self) -> int:
        """How many learned and fitted numbers an embedding depends on: not the decoder, and not the classifier of people.

        As is usual, the running statistics of batch normalization are no parameters.
        """
        unused = ("autoencoder.decoder.", "recognizer.neck.", "recognizer.fc_cls.", "recognizer.center_loss.")
        aside = ("running_mean", "running_var", "discriminants.within")  # the last is for adaptation
        known = {name: v for name, v in self.state_dict().items() if not name.startswith(unused) and not name.endswith(aside)}
        return sum(v.numel() for v in known.values() if v.is_floating_point())

    def encode(self, x: Tensor) -> Codes | None:
        """The codes of windows, float32 [B, 30, T], if there is an autoencoder."""
        return self.autoencoder.encode(x) if self.autoencoder else None

    def forward(self, x: Tensor) -> tuple[Codes | None, Tensor, Tensor]:
        """x: float32 [B, 30, T] -> codes, embedding [B, E] (not normalized), logits [B, people]."""
        codes = self.encode(x)
        return codes, *self.recognize(x, codes)

    def recognize(self, x: Tensor, codes: Codes | None) -> tuple[Tensor, Tensor]:
        """float32 [B, 30, T] and its codes -> embedding [B, E] (not normalized), logits [B, people]."""
        if self.recognizer is None:
            raise InputError("This checkpoint is an autoencoder only and recognizes nobody; give the recognizer's file too.")
        if not codes:
            return self.recognizer(x, None)
        seen = codes if self.end_to_end else codes.each(torch.Tensor.detach)
        return self.recognizer(self.autoencoder.arrange(x), seen)

    @torch.no_grad()
    def code_statistics(self, x: Tensor) -> Tensor:
        """The discriminants' input for windows [N, 30, T] on the model's device: [N, statistics]."""
        return torch.cat([code_statistics(self.autoencoder.encode(part)) for part in x.split(WINDOWS)])

    @torch.no_grad()
    def embed(self, x: Tensor, mirrored: bool = False) -> Tensor:
        """The embedding of a window, float32 [B, 30, T] -> float32 [B, embedding_size].

        The learned embedding followed by discriminants of the codes, each of length one before weighting, together of
        length one. mirrored: the mean over the window and its mirror image, which is shorter the less they agree.
        """
        if mirrored:
            return (self.embed(x) + self.embed(mirror(x))) / 2
        return self.describe(x, self.encode(x))

    def describe(self, x: Tensor, codes: Codes | None) -> Tensor:
        """The embedding of windows, float32 [B, 30, T], whose codes are known; see `embed`."""
        learned = F.normalize(self.recognize(x, codes)[0])
        if not self.discriminants:
            return learned
        weight = self.discriminant_weight
        found = F.normalize(self.discriminants(code_statistics(codes)))
        return torch.cat([learned, weight * found], 1) / math.hypot(1, weight)


def _network(name: str, arguments: dict) -> nn.Module:
    """A network by its name; InputError if it cannot be built with these arguments."""
    try:
        return networks.network_class(name)(**arguments)
    except InputError:
        raise
    except Exception as error:
        said = f"{arguments!s:.200} ({type(error).__name__}: {error!s:.200})"
        raise InputError(f"The network {name} cannot be built with {said}.") from error
