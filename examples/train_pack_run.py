import torch
from sklearn.datasets import load_digits
from torch import nn

from featherbit import Session, layers, optim, pack, quantizers, save

torch.manual_seed(0)
order = torch.randperm(1797)  # 1437 images to learn from, 360 to test
x, y = (torch.tensor(array)[order] for array in load_digits(return_X_y=True))
x = (x * 15.9375).to(torch.uint8)  # 64 pixels of 0..255
model = nn.Sequential(
    layers.FixedPointInput(bits=8),
    *(layers.QuantLinear(64, 512, bias=False), nn.BatchNorm1d(512), quantizers.Sign()),
    *(layers.QuantLinear(512, 10, bias=False), nn.BatchNorm1d(10)),
)
optimizer = torch.optim.Adam(optim.parameter_groups(model, learning_rate=1e-3))
optim.clip_latent_weights(optimizer, model)
for rows in (rows for epoch in range(30) for rows in torch.randperm(1437).split(100)):
    optimizer.zero_grad()
    layers.SquareHingeLoss()(model(x[rows]), y[rows]).backward()
    optimizer.step()

save(pack.pack(model.eval(), x[:100]), "digits.fbit")  # verified, layer by layer
scores = Session("digits.fbit").run(x[1437:].numpy())  # no torch in here
print("accuracy:", (scores.argmax(axis=1) == y[1437:].numpy()).mean())
print("equal to torch:", torch.equal(torch.from_numpy(scores), model(x[1437:])))
