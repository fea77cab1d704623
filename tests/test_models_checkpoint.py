import argparse
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from wsl.errors import CheckpointError
from wsl.models.checkpoint import load_state_dict, read_state_dict

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


def same(found, expected=STATE) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[key], expected[key]) for key in expected
    )


def test_safetensors(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors")
    assert same(read_state_dict(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE},
        {"state_dict": STATE, "args": argparse.Namespace(lr=0.1, out=Path("x")), "loops": {}},
    ],
    ids=["bare", "state_dict", "model", "settings"],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt"])
def test_torch_files_are_unwrapped(tmp_path, content, suffix):
    torch.save(content, tmp_path / f"w{suffix}")
    assert same(read_state_dict(tmp_path / f"w{suffix}"))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_nothing_is_unpickled(tmp_path, how):
    path, trap = tmp_path / "w.pth", Trap(tmp_path / "executed")
    if how == "torch":
        torch.save({"state_dict": STATE, "args": trap}, path)
    else:
        path.write_bytes(pickle.dumps(trap))
    with pytest.raises(CheckpointError, match=r"w\.pth (holds|is not) .*: save torch\.save\("):
        read_state_dict(path)
    assert not (tmp_path / "executed").exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(nn.Linear(3, 2), tmp_path / "w.pt")
    message = r"w\.pt holds an object of type torch\.nn\.modules\.linear\.Linear, for which code "
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state_dict(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_torchscript_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(3, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(
        CheckpointError, match=r"w\.pt is a TorchScript archive, which holds code: "
    ):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04not weights"], ids=["empty", "noise"])
def test_broken_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {**STATE, "step": 3}}, "1 entries are something else: step"),
        (torch.zeros(2), "holds an object of type Tensor"),
        ({}, "holds an empty mapping"),
    ],
    ids=["number inside", "tensor", "empty"],
)
def test_what_is_no_state_dict_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / "w.pt")


def test_other_endings_and_absent_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors, \.pth, \.pt"):
        read_state_dict(tmp_path / "w.pkl")
    with pytest.raises(CheckpointError, match="there is no checkpoint file"):
        read_state_dict(tmp_path / "w.pth")


def test_every_misfit_is_named():
    state = {
        "weight": torch.zeros(2, 4),
        **{f"extra{index}": torch.zeros(1) for index in range(6)},
    }
    with pytest.raises(CheckpointError) as caught:
        load_state_dict(nn.Linear(3, 2), state, source="w.pth")
    assert str(caught.value) == (
        "w.pth does not fit Linear: 1 missing: bias; "
        "6 unexpected: extra0, extra1, extra2, extra3, …; "
        "1 of another shape: weight (expected (2, 3), found (2, 4))"
    )


def test_a_misfit_changes_nothing_and_step_counters_may_be_absent():
    norm = nn.BatchNorm1d(2)
    state = {k: v + 1 for k, v in norm.state_dict().items() if k != "num_batches_tracked"}
    with pytest.raises(CheckpointError, match="1 unexpected: other"):
        load_state_dict(norm, {**state, "other": torch.zeros(1)}, source="w")
    assert norm.running_mean.tolist() == [0, 0]
    load_state_dict(norm, state, source="w")
    assert norm.running_mean.tolist() == [1, 1]


def test_old_densenet_names_are_translated(tmp_path):
    old = "features.denseblock1.denselayer2.norm.1.weight"
    torch.save({old: torch.zeros(1)}, tmp_path / "w.pth")
    assert list(read_state_dict(tmp_path / "w.pth")) == [old.replace("norm.1", "norm1")]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(2**33, 512),
        torch.zeros(3, 1).expand(3, 10**6),
        torch.ones(2, 2).to_sparse(),
        torch.zeros(2**33, 512, device="meta"),
    ],
    ids=["2^33 classes", "repeated", "sparse", "meta"],
)
def test_tensors_without_their_values_are_refused(tmp_path, tensor):
    torch.save(STATE | {"fc.weight": tensor}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"1 tensors are sparse, or have more .*: fc\.weight"):
        read_state_dict(tmp_path / "w.pth")


def test_a_transposed_tensor_is_read(tmp_path):
    torch.save({"w": STATE["weight"].T}, tmp_path / "w.pth")
    assert torch.equal(read_state_dict(tmp_path / "w.pth")["w"], STATE["weight"].T)


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save({"w": torch.zeros(10**6)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as stored, \
         zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed:  # fmt: skip
        for entry in stored.infolist():
            packed.writestr(entry.filename, stored.read(entry))
    with pytest.raises(CheckpointError, match=r"w\.pth .*its content is compressed"):
        read_state_dict(tmp_path / "w.pth")
