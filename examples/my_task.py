"""A task of your own: supple optimize examples/my_task.py [--width 64]."""

import torch
from sklearn.datasets import load_digits
from torch import nn

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)


def batches(first, last, size=50):
    return [(images[i : i + size], labels[i : i + size]) for i in range(first, last, size)]


def model(width=64):  # the trained network; its arguments are the task's options
    features = [nn.Conv2d(1, width, 3, stride=2), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU()]
    net = nn.Sequential(*features, nn.Flatten(), nn.Linear(width, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for inputs, targets in 20 * train():
        optimizer.zero_grad()
        loss(net(inputs), targets).backward()
        optimizer.step()
    return net


def example():  # inputs it takes
    return images[:1]


def train():  # batches (inputs, targets) to train on
    return batches(0, 1000)


def valid():  # to compare sub-networks by
    return batches(1000, 1300)


def test():  # for the final result only
    return batches(1300, 1797)


loss = nn.functional.cross_entropy


def metric(outputs, targets):  # a score per example, the higher the better
    return outputs.argmax(1) == targets
