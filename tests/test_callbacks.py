"""Callbacks for trainers: counted by what they are told, and with the real libraries where those are installed."""

import sys
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mbbench
from mbbench import callbacks, watching
from mbbench.case import UsageError

X = torch.linspace(-1, 1, 96).reshape(32, 3)
Y = X.sum(1, keepdim=True).sin()


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(watching, "_ALL", [])


@pytest.mark.parametrize(
    ("make", "modules"),
    [(mbbench.watch_lightning, ("lightning.pytorch", "pytorch_lightning")), (mbbench.watch_transformers, ("transformers",))],
)
def test_a_library_that_is_not_there_is_named(monkeypatch, make, modules):
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"^{modules[0].partition('.')[0]} is not installed"):
        make()


def test_what_a_library_needs_and_has_not_got_is_its_own_error(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'needed'", name="needed")

    monkeypatch.setattr(callbacks, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="needed"):
        mbbench.watch_transformers()


def test_a_trainer_is_counted_by_what_it_tells(monkeypatch):
    now, said = 0.0, []

    def passes(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    running = callbacks._Running(1e9, said.append)
    running.begin("A trainer", [X], net, [optimizer])
    for _ in range(3):
        passes(50.0)  # setting up
        running.epoch()
        for _ in range(8):
            passes(2.0)
            running.batch_begins(X)
            net(X).sum().backward()
            optimizer.step()
            passes(3.0)
            running.batch_ends()
            net(X)  # an evaluation
            passes(70.0)
            running.left_out()
    [one] = watching._ALL
    assert (one.seen.epochs, one.seen.batches, one.seen.timed.loader_s, one.seen.total_s) == (3, 24, 48.0, 120.0)
    assert [(look.batches, look.updates, look.rows, look.loader_s, look.total_s) for look in one.seen.looks] == [
        (8, 8, 256, 16.0, 40.0)
    ]
    assert not net._forward_hooks
    monkeypatch.undo()
    running.end()
    assert said[0].startswith("mbbench watched Linear with SGD: 24 steps of about 32 rows, 3 epochs in 120 s, 5.00 s each.")
    assert said[1].startswith("Where a step goes: loader and A trainer 40 %")
    running.batch_begins(X)  # what comes after the end is nothing
    running.batch_ends()
    assert one.seen.batches == 24


def test_several_optimizers_are_not_watched_and_that_is_said():
    said, net = [], nn.Linear(3, 1)
    running = callbacks._Running(1e9, said.append)
    running.begin("A trainer", [X], net, [torch.optim.SGD(net.parameters(), lr=0.1)] * 2)
    running.epoch()
    running.batch_begins(X)
    running.batch_ends()
    running.end()
    assert said == ["mbbench watches a loop with one optimizer: A trainer has 2 here, so it is not watched."]


def loader():
    return DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_lightning_trains_bit_for_bit_as_without_it(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.losses = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1)), []

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            loss = nn.functional.mse_loss(self(batch[0]), batch[1])
            self.losses.append(loss.item())
            return loss

        def validation_step(self, batch, _):
            self(batch[0])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    def fit(*more):
        torch.manual_seed(0)
        module = Module()
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = lightning.Trainer(
            max_epochs=10, accelerator="cpu", devices=1, default_root_dir=tmp_path, callbacks=list(more), **quiet
        )
        trainer.fit(module, loader(), loader())
        return module

    said = []
    plain, module = fit(), fit(mbbench.watch_lightning(say=said.append))
    assert plain.losses == module.losses
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), module.parameters(), strict=True))
    [one] = watching._ALL
    assert (one.seen.epochs, one.seen.batches, one.seen.updates) == (10, 40, 40)
    assert one.seen.rows_a_batch == 8
    assert all(0 < look.optimizer_s < look.total_s - look.forward_s - look.loader_s for look in one.seen.looks)
    assert one.seen.gradients
    assert said[0].startswith("mbbench watched Module with Adam: 40 steps of about 8 rows, 10 epochs in")
    assert said[1].startswith("Where a step goes: loader and Lightning's Trainer")
    assert any(
        "step=lambda model, batch: model.training_step(batch, 0), data=loader.dataset.tensors" in line for line in said
    )
    assert not module._forward_hooks


@pytest.mark.filterwarnings("ignore")  # theirs
def test_hugging_face_trains_bit_for_bit_as_without_it(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate, which its Trainer needs, is not installed")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.losses = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1)), []

        def forward(self, x, labels=None):
            logits = self.net(x)
            loss = nn.functional.mse_loss(logits, labels)
            if self.training:
                self.losses.append(loss.item())
            return transformers.modeling_outputs.SequenceClassifierOutput(loss=loss, logits=logits)

    rows = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]

    def train(accumulate, *more):
        torch.manual_seed(0)
        model = Model()
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=10,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=accumulate,
            eval_strategy="epoch",
            logging_steps=3,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=rows, eval_dataset=rows, callbacks=list(more)
        )
        trainer.train()
        return model

    said = []
    plain, model = train(1), train(1, mbbench.watch_transformers(say=said.append))
    assert plain.losses == model.losses
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), model.parameters(), strict=True))
    [one] = watching._ALL
    assert (one.seen.epochs, one.seen.batches, one.seen.updates, one.seen.rows_a_batch) == (10, 40, 40, 8)
    assert all(look.optimizer_s > 0 for look in one.seen.looks)
    assert said[0].startswith("mbbench watched Model with AdamW: 40 steps of about 8 rows, 10 epochs in")
    assert said[1].startswith("Where a step goes: loader and Hugging Face's Trainer")
    assert any("mbbench.Problem(model=model, data=loader.dataset" in line for line in said)
    assert not model._forward_hooks
    train(2, mbbench.watch_transformers(say=said.append))
    one = watching._ALL[-1]
    assert (one.seen.batches, one.seen.updates, one.seen.rows_a_batch) == (20, 20, 16)
