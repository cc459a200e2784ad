from torch import cat, nn


class MyNet(nn.Module):
    def __init__(self, width: int = 64):
        super().__init__()
        sizes = ((30, width), (width, width))
        self.layers = nn.Sequential(*(nn.Sequential(nn.Conv1d(a, b, 9, 2, 4), nn.BatchNorm1d(b), nn.ReLU()) for a, b in sizes))

    def forward(self, x):  # [B, 30, T]: x and y of 15 joints over time
        y = self.layers(x)
        return cat([y.mean(2), y.amax(2)], 1)  # [B, E]
