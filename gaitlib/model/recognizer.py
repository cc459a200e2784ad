"""Who walks: from the codes of a window to an embedding, and from the embedding to the training people."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib.model.autoencoder import CODE, ROWS, Autoencoder, Codes, Residual

#: Rows that each feature contributes.
FEATURES = {"pose": ROWS, "motion": CODE, "body": CODE, "view": CODE}


def stack_features(x: Tensor, codes: Codes, features: list[str]) -> Tensor:
    """The chosen features as rows over time: x [B,30,T] and its codes -> [B, R, T]."""
    rows = {"pose": x, "motion": codes.motion, "body": codes.body_sequence, "view": codes.view_sequence}
    return torch.cat([rows[name] for name in features], 1)


class PaperRecognizer(nn.Module):
    """The published recognizer: the rows as a one-channel image [B, 1, R, T], five 3x3 convolutions, one large matrix.

    width: 32 as published. Returns (embedding [B, 512], logits [B, people]).
    """

    def __init__(self, rows: int, frames: int, people: int, *, width: int = 32, embedding: int = 512):
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())

        self.conv1, self.conv2 = block(1, width), block(width, 2 * width)
        self.conv3, self.conv4 = block(2 * width, 2 * width), block(2 * width, 2 * width)
        self.pool = nn.MaxPool2d(2, 2, padding=1)
        self.fc = nn.Linear(2 * width * (rows // 2 + 1) * (frames // 2 + 1), embedding)
        self.fc_cls = nn.Linear(embedding, people)
        self.dropout = nn.Dropout(0.5)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.pool(self.conv2(self.conv1(rows[:, None])))
        y = self.conv4(self.conv3(pooled)) + pooled
        embedding = self.fc(self.dropout(y.flatten(1)))
        return embedding, self.fc_cls(embedding)


class LeanRecognizer(nn.Module):
    """A temporal residual network over the rows; returns (embedding [B, E], logits [B, people]).

    The embedding is what comes before the batch normalization that feeds the classifier (Luo et al., "Bag of tricks and a strong
    baseline for deep person re-identification", CVPRW 2019).
    """

    def __init__(self, rows: int, people: int, *, width: int = 128, embedding: int = 256, dropout: float = 0.2):
        super().__init__()
        self.norm = nn.BatchNorm1d(rows)
        self.blocks = nn.Sequential(
            Residual(rows, width, 5, stride=2), Residual(width, width, 5), Residual(width, 2 * width, 5, stride=2)
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(4 * width, embedding)
        self.neck = nn.BatchNorm1d(embedding)
        self.neck.bias.requires_grad_(False)
        self.fc_cls = nn.Linear(embedding, people, bias=False)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        y = self.blocks(self.norm(rows))
        embedding = self.fc(self.dropout(torch.cat([y.mean(2), y.amax(2)], 1)))
        return embedding, self.fc_cls(self.neck(embedding))


class GaitModel(nn.Module):
    """The autoencoder and a recognizer on its codes; what a checkpoint holds.

    recognizer: "paper" or "lean"; features: which of pose, motion, body, view the recognizer sees.
    end_to_end: the identity loss reaches the encoders; otherwise (as published) it trains the recognizer only.
    """

    def __init__(
        self,
        *,
        people: int,
        window: int = 64,
        encoder: str = "residual",
        encoder_width: int = 96,
        encoder_kernel: int = 5,
        decoder_dropout: float = 0.2,
        recognizer: str = "lean",
        recognizer_width: int = 128,
        embedding: int = 256,
        features: list[str] = ("motion", "body"),
        end_to_end: bool = True,
    ):
        super().__init__()
        self.settings = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.settings["features"] = self.features = list(features)
        self.window, self.end_to_end = window, end_to_end
        self.autoencoder = Autoencoder(encoder, width=encoder_width, kernel=encoder_kernel, dropout=decoder_dropout)
        rows = sum(FEATURES[name] for name in features)
        if recognizer == "paper":
            self.recognizer = PaperRecognizer(rows, window, people, width=recognizer_width, embedding=embedding)
        else:
            self.recognizer = LeanRecognizer(rows, people, width=recognizer_width, embedding=embedding)

    def forward(self, x: Tensor) -> tuple[Codes, Tensor, Tensor]:
        """x: float32 [B, 30, T] -> codes, embedding [B, E] (not normalized), logits [B, people]."""
        codes = self.autoencoder.encode(x)
        rows = stack_features(x, codes, self.features)
        return codes, *self.recognizer(rows if self.end_to_end else rows.detach())

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """float32 [B, 30, T] -> float32 [B, E] of length one."""
        return F.normalize(self(x)[1])
