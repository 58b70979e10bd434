"""Bad input to every command: files, and what each is told of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from conftest import make_session

from emgmodels.checkpoints.exported import write_torch
from emgmodels.config import Config
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader
from emgmodels.sessions import write_session
from helpers.splits import write_split
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS
from search.results.record import COMPLETE, TrialRecord
from search.space import load_space

ROOT = Path(__file__).resolve().parents[2]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
HEADER = "run,epoch,val_cer,val_loss\n"
MODEL = "gru:1(hidden=8,bidirectional=false) mlp:8 hop:64 @16ch"


def write_inputs(folder: Path) -> None:
    """Write good and broken files of every kind that a command reads."""
    for name in ("empty-folder", "data", "pointers", "odd", "people", "mute"):
        (folder / name).mkdir()
    for place, user in enumerate(("anna", "bob", "carl")):
        session = make_session(seconds=8, seed=3 + place, name=f"{user}-0", user=user)
        write_session(folder / "people" / f"{user}-0.hdf5", session)
        write_session(folder / "mute" / f"{user}-0.hdf5", session)
    silent = make_session(seconds=8, seed=9, name="mute-0", user="mute")
    write_session(folder / "mute" / "mute-0.hdf5", replace(silent, keystrokes=()))
    for i in range(3):
        session = make_session(seconds=8, seed=i, name=f"s{i}", user="anna")
        write_session(folder / "data" / f"s{i}.hdf5", session)
    known = {"train": [("anna", "anna-0")], "val": [("carl", "carl-0")]}
    leaking = [("anna", "anna-1"), ("bob", "bob-0")]
    write_split(folder / "leaking.yaml", **known, test=leaking)
    write_split(folder / "absent.yaml", **known, test=[("nobody", "nobody-0")])
    shutil.copy(folder / "data" / "s0.hdf5", folder / "s0.hdf5")
    whole = (folder / "s0.hdf5").read_bytes()
    (folder / "odd" / "cut.hdf5").write_bytes(whole[: len(whole) // 2])
    (folder / "odd.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40))
    (folder / "empty").write_bytes(b"")
    (folder / "binary").write_bytes(bytes(range(256)) * 8)
    (folder / "pointers" / "model.pt").write_text(POINTER)
    (folder / "pointers" / "curves.csv").write_text(POINTER)
    (folder / "tiny.yaml").write_text(
        "name: tiny\nmodel: {mlp_features: 32, encoder: {order: [conv], conv: {layers: 1}}}\n"
        "training: {epochs: 2}\nsearch: {trials: 2, sampler: random, scheduler: none}\n"
    )
    (folder / "broken.yaml").write_text("name: [unclosed\n  model: {")
    (folder / "list.yaml").write_text("- 1\n- 2\n")
    (folder / "split.yaml").write_text("user: anna\ndataset: {train: 7}\n")
    (folder / "one.yaml").write_text("model: {mlp_features: 32}\ntraining: {epochs: 1}\n")
    (folder / "odd-start.yaml").write_text("training: {start_from: best.pt, freeze: [covn]}\n")
    (folder / "text.txt").write_text("the quick brown fox\n" * 3)
    (folder / "page.md").write_text("no marks\n")
    _write_models(folder)
    _write_curves(folder)
    _write_runs(folder)


def _write_models(folder: Path) -> None:
    config = Config(model=parse_notation(MODEL))
    write_torch(Reader(config, build(config.model), Origin()), folder / "best.pt")
    content = (folder / "best.pt").read_bytes()
    (folder / "cut.pt").write_bytes(content[: len(content) // 2])
    torch.save([1, 2], folder / "list.pt")
    state = torch.load(folder / "best.pt", weights_only=True)
    torch.save({"weights": 1}, folder / "foreign.pt")
    state["model"]["head.weight"] = state["model"]["head.weight"][:, :5]
    torch.save(state, folder / "unequal.pt")
    torch.save({"card": "{", "model": {}}, folder / "card.pt")
    noted = {"config": config.model_dump_json(), "model": {}, "best": {}}
    torch.save(noted, folder / "half.pt")


def _write_curves(folder: Path) -> None:
    tables = {
        "dates": HEADER + "a,2024-01-01,9,9\n",
        "times": HEADER + "a,1,12:30:00,9\n",
        "days": HEADER + "a,1,9,2024-01-01\n",
        "truth": HEADER + "a,1,true,9\n",
        "words": HEADER + "a,one,9,9\n",
        "halves": HEADER + "a,1.5,9,9\n",
        "gap": HEADER + "a,1,9,9\na,3,9,9\n",
        "twice": "run,epoch,val_cer,val_loss,val_loss\na,1,9,9,9\n",
        "columns": "a;b;c\n1;2;3\n",
        "seconds": "run,epoch,val_cer,val_loss,seconds\na,1,9,9,12:30:00\n",
        "negative": "run,epoch,val_cer,val_loss,seconds\na,1,9,9,-1\n",
        "ragged": HEADER + "a,1,9\n",
        "header": HEADER,
    }
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    good = [f"{run},{e},{90 / e},{9 / e}" for run in range(6) for e in range(1, 9)]
    (folder / "good.csv").write_text(HEADER + "\n".join(good) + "\n")


def _write_runs(folder: Path) -> None:
    for name in ("run", "cut-run", "odd-run", "bare-run"):
        run = RunFolder.create(folder, name)
        run.write_space(load_space(ROOT / "spaces" / "deep.yaml").resolved())
        if name != "bare-run":
            trial = TrialRecord(0, Config(model=parse_notation(MODEL)), COMPLETE)
            trial.add({"epoch": 1, **dict.fromkeys(CURVE_METRICS, 12.5)})
            run.trials[0] = trial
            run.flush()
    for name in ("cut-run", "odd-run"):
        table = folder / f"{name}-001" / "trials.parquet"
        content = table.read_bytes()
        table.write_bytes(content[: len(content) // 2] if name == "cut-run" else b"PAR1" * 9)


TRAIN = ("train", "one.yaml", "--data", "data", "--out", "new.pt")
RUN = ("run", "tiny.yaml", "--out", "new")
STRANGERS = (*RUN, "--data", "people", "--people")
PEOPLE = ("people", "run-001", "--data", "data")
CASES = [
    # a checkpoint to start from, and what of it is trained how
    ((*TRAIN, "--start-from", "nowhere.pt"), "nowhere.pt: cannot be read"),
    ((*TRAIN, "--start-from", "cut.pt"), "cut.pt: is cut off"),
    ((*TRAIN, "--start-from", "foreign.pt"), "foreign.pt"),
    ((*TRAIN, "--start-from", "pointers/model.pt"), "pointers/model.pt"),
    ((*TRAIN, "--start-from", "empty-folder"), "empty-folder: holds no model"),
    ((*TRAIN, "--start-from", "best.pt"), "other features"),
    (("train", "odd-start.yaml", "--data", "data", "--out", "new.pt"), "covn"),
    ((*RUN, "--data", "data", "--set", "training.start_from=nowhere.pt"), "nowhere.pt"),
    ((*RUN, "--data", "data", "--set", "training.start_from=best.pt"), "other features"),
    ((*RUN, "--data", "data", "--set", "training.freeze=[conv]"), "there is no checkpoint"),
    ((*RUN, "--data", "data", "--set", "training.unshare=true"), "there is no checkpoint"),
    (("run", "odd-start.yaml", "--data", "data", "--out", "new"), "covn"),
    (("people", "nowhere", "--data", "data"), "nowhere"),
    ((*PEOPLE, "--users", "bob"), "environment.json"),
    ((*PEOPLE, "--users", "a,,b"), "a,,b"),
    ((*PEOPLE, "--minutes", "soon"), "soon"),
    ((*PEOPLE, "--minutes", "-1"), "-1"),
    (("people", "bare-run-001", "--data", "data"), "bare-run-001"),
    (("evaluate", "run-001", "--adapt", "head"), "head"),
    # a device is checked before anything is read
    ((*TRAIN, "--device", "nonsense"), "'nonsense'"),
    ((*TRAIN, "--device", "meta"), "'meta'"),
    ((*TRAIN, "--device", "cuda:99"), "'cuda:99'"),
    (("evaluate", "run-001", "--test", "--device", "nonsense"), "'nonsense'"),
    (("evaluate", "run-001", "--test", "--device", "cuda:-1"), "'cuda:-1'"),
    # numbers
    (("stream", "best.pt", "s0.hdf5", "--seconds", "inf"), "inf"),
    (("stream", "best.pt", "s0.hdf5", "--seconds", "nan"), "nan"),
    (("stream", "best.pt", "s0.hdf5", "--seconds", "-1"), "-1"),
    (("stream", "best.pt", "s0.hdf5", "--chunk-ms", "nan"), "nan"),
    (("stream", "best.pt", "s0.hdf5", "--chunk-ms", "0"), "0"),
    (("stream", "best.pt", "s0.hdf5", "--threads", "0"), "0"),
    (("stream", "best.pt", "s0.hdf5", "--threads", "99999999999"), "99999999999"),
    (("evaluate", "run-001", "--top", "0"), "--top"),
    (("evaluate", "run-001", "--beam", "-3"), "--beam"),
    (("evaluate", "run-001", "--lm-weight", "nan"), "nan"),
    (("evaluate", "run-001", "--insertion-bonus", "inf"), "inf"),
    (("simulate", "good.csv", "--eta", "nan"), "nan"),
    (("simulate", "good.csv", "--eta", "1"), "eta 1"),
    (("simulate", "good.csv", "--grace", "0"), "grace 0"),
    (("simulate", "good.csv", "--slots", "0"), "--slots"),
    (("simulate", "good.csv", "--tune", "nan"), "nan"),
    (("simulate", "good.csv", "--trials", "7"), "7 are needed"),
    (("simulate", "good.csv", "--seed", "-1"), "--seed"),
    (("simulate", "good.csv", "--epochs", "99999999999999999999"), "99999999999999999999"),
    (("sessions", "inspect", "s0.hdf5", "--plot", "new.png", "--start", "nan"), "nan"),
    (("sessions", "inspect", "s0.hdf5", "--plot", "new.png", "--start", "99"), "99"),
    (("sessions", "inspect", "s0.hdf5", "--plot", "new.png", "--seconds", "0"), "seconds 0"),
    (("synthetic", "new", "--minutes", "inf"), "inf"),
    (("synthetic", "new", "--minutes", "abc"), "--minutes"),
    (("synthetic", "new", "--sessions", "0"), "sessions 0"),
    (("synthetic", "new", "--seed", "-1"), "seed -1"),
    (("synthetic", "new", "--off-keyboard", "-1"), "-1"),
    (("synthetic", "new", "--subject", "../x"), "../x"),
    (("synthetic", "new", "--users", "0"), "users 0"),
    # people
    ((*STRANGERS, "val=1,test=3"), "holds out 4, and there are 3 users"),
    ((*STRANGERS, "val=0"), "holds out 0, and there are 3 users"),
    ((*STRANGERS, "val=-1"), "-1"),
    ((*STRANGERS, "val=1.5"), "1.5"),
    ((*STRANGERS, "nonsense"), "'nonsense'"),
    ((*STRANGERS, "train=1"), "train"),
    ((*STRANGERS, "val=eve"), "eve unknown: the users are anna, bob, carl"),
    ((*STRANGERS, "val=anna,test=anna"), "anna in two roles"),
    ((*STRANGERS, "val=1", "--subject", "anna"), "--subject anna"),
    ((*STRANGERS, "val=1", "--split", "split.yaml"), "--split split.yaml"),
    ((*RUN, "--data", "data", "--people", "val=1"), "all sessions are of one user, anna"),
    ((*RUN, "--people", "val=1"), "there is one, synthetic: give --data DIR"),
    ((*RUN, "--set", "typist.users=3"), "say whom to hold out, such as --people"),
    ((*RUN, "--data", "mute", "--people", "val=1"), "in any session of mute"),
    ((*RUN, "--data", "people", "--split", "leaking.yaml"), "dataset.test holds out users (bob)"),
    ((*RUN, "--data", "people", "--split", "absent.yaml"), "nobody-0"),
    ((*RUN, "--data", "people", "--set", "data.people={val: [1.5, 2], test: x}"), "x unknown"),
    ((*RUN, "--data", "people", "--set", "search.rank_by=mean"), "mean_user"),
    ((*RUN, "--data", "people", "--set", "training.balance=people"), "users"),
    (("run", "--resume", "run-001", "--people", "val=1"), "--people"),
    (
        ("train", "one.yaml", "--data", "people", "--out", "new.pt", "--people", "val=4"),
        "holds out 4, and there are 3",
    ),
    (("language", "build", "text.txt", "--out", "new.arpa", "--order", "0"), "order 0"),
    (("language", "build", "text.txt", "--out", "new.arpa", "--order", "99"), "order 99"),
    ((*TRAIN, "--epochs", "0"), "--epochs"),
    ((*TRAIN, "--seed", "-1"), "--seed"),
    ((*TRAIN, "--seed", "5000000000"), "5000000000"),
    ((*RUN, "--data", "data", "--cpus-per-trial", "nan"), "nan"),
    ((*RUN, "--data", "data", "--cpus-per-trial", "0"), "--cpus-per-trial 0"),
    ((*RUN, "--data", "data", "--cpus-per-trial", "9999"), "9999"),
    ((*RUN, "--data", "data", "--gpus-per-trial", "nan"), "--gpus-per-trial nan"),
    ((*RUN, "--data", "data", "--gpus-per-trial", "-1"), "--gpus-per-trial -1"),
    ((*RUN, "--data", "data", "--gpus-per-trial", "many"), "many"),
    ((*RUN, "--data", "data", "--trials", "0"), "trials"),
    ((*RUN, "--data", "data", "--epochs", "0"), "epochs"),
    ((*RUN, "--data", "data", "--epochs", "-2"), "epochs"),
    ((*RUN, "--data", "data", "--seed", "-1"), "seed"),
    ((*RUN, "--data", "data", "--time-budget", "soon"), "soon"),
    ((*RUN, "--data", "data", "--time-budget", "nan"), "nan"),
    ((*RUN, "--data", "data", "--time-budget=-5"), "-5"),
    ((*RUN, "--data", "data", "--confirm", "0"), "--confirm 0"),
    ((*RUN, "--data", "data", "--repeats", "0"), "repeats"),
    # sessions, splits and subjects
    ((*RUN, "--data", "nowhere"), "nowhere"),
    ((*RUN, "--data", "empty-folder"), "empty-folder"),
    ((*RUN, "--data", "tiny.yaml"), "tiny.yaml"),
    ((*RUN, "--data", "odd"), "cut.hdf5"),
    ((*RUN, "--data", "data", "--subject", "bob"), "bob"),
    ((*RUN, "--data", "data", "--split", "nowhere.yaml"), "nowhere.yaml"),
    ((*RUN, "--data", "data", "--split", "split.yaml"), "split.yaml"),
    ((*RUN, "--data", "data", "--split", "broken.yaml"), "broken.yaml"),
    ((*RUN, "--data", "data", "--split", "binary"), "binary"),
    ((*RUN, "--data", "data", "--split", "data"), "data"),
    (("sessions", "inspect", "nowhere.hdf5"), "nowhere.hdf5"),
    (("sessions", "inspect", "odd.wav"), "odd.wav"),
    (("sessions", "inspect", "empty"), "empty"),
    (("sessions", "inspect", "empty-folder"), "empty-folder"),
    (("sessions", "inspect", "odd"), "cut.hdf5"),
    (("windows", "prepare", "nowhere"), "nowhere"),
    (("windows", "prepare", "odd"), "cut.hdf5"),
    (("windows", "prepare", "odd.wav"), "odd.wav"),
    (("stream", "best.pt", "nowhere.hdf5"), "nowhere.hdf5"),
    (("stream", "best.pt", "data"), "data: is a folder"),
    # space files, trainings and architectures
    (("run", "nowhere.yaml"), "nowhere.yaml"),
    (("run", "broken.yaml"), "broken.yaml"),
    (("run", "list.yaml"), "list.yaml"),
    (("run", "binary"), "binary"),
    (("run", "empty-folder"), "empty-folder"),
    ((*RUN, "--set", "model"), "model"),
    ((*RUN, "--set", "model.nothing=3"), "nothing"),
    ((*RUN, "--warm-start", "nowhere", "--data", "data"), "nowhere"),
    ((*RUN[:2], "--out", "empty", "--data", "data"), "empty is not a folder"),
    ((*RUN[:2], "--storage", "empty/new", "--data", "data"), "empty is not a folder"),
    (("run", "--resume", "nowhere"), "nowhere"),
    (("run", "--resume", "tiny.yaml"), "tiny.yaml"),
    (("run", "--add-trials", "3"), "--resume"),
    (("train", "nowhere.yaml", "--data", "data"), "nowhere.yaml"),
    (("train", "tiny.yaml", "--data", "data"), "tiny.yaml"),
    (("train", "binary", "--data", "data"), "binary"),
    ((*TRAIN, "--resume", "cut.pt"), "cut.pt"),
    ((*TRAIN, "--resume", "nowhere.pt"), "nowhere.pt"),
    ((*TRAIN, "--resume", "half.pt"), "half.pt"),
    (("factory", "gruu:2"), "gruu"),
    (("factory", "gru:2(hiden=3)"), "hiden"),
    (("factory", "gru:x"), "gru:x"),
    (("factory", "nowhere.yaml"), "nowhere.yaml"),
    # models
    (("export", "nowhere.pt", "--to", "torch"), "nowhere.pt"),
    (("export", "empty-folder", "--to", "torch"), "empty-folder"),
    (("export", "empty", "--to", "torch"), "empty: is empty"),
    (("export", "cut.pt", "--to", "torch"), "cut.pt: is cut off or damaged"),
    (("export", "binary", "--to", "torch"), "binary: is not a checkpoint"),
    (("export", "list.pt", "--to", "torch"), "list.pt: holds no weights"),
    (("export", "foreign.pt", "--to", "torch"), "foreign.pt"),
    (("export", "card.pt", "--to", "torch"), "card.pt"),
    (("export", "half.pt", "--to", "torch"), "half.pt"),
    (("export", "unequal.pt", "--to", "torch"), "head.weight is 99 x 5"),
    (("export", "pointers/model.pt", "--to", "torch"), "git lfs pull"),
    (("export", "best.pt", "--to", "tflite"), "tflite"),
    (("export", "best.pt", "--to", "torch", "--out", "empty-folder"), "empty-folder"),
    (("export", "best.pt", "--to", "torch", "--out", "empty/new.pt"), "empty"),
    # curves, runs and language models
    *((("simulate", f"{name}.csv"), f"{name}.csv") for name in ("dates", "times", "days", "truth")),
    *((("simulate", f"{name}.csv"), f"{name}.csv") for name in ("words", "halves", "gap", "twice")),
    *((("simulate", f"{name}.csv"), f"{name}.csv") for name in ("columns", "seconds", "negative")),
    *((("simulate", f"{name}.csv"), f"{name}.csv") for name in ("ragged", "header")),
    (("simulate", "empty"), "empty"),
    (("simulate", "binary"), "binary"),
    (("simulate", "pointers/curves.csv"), "git lfs pull"),
    (("simulate", "empty-folder"), "empty-folder"),
    (("simulate", "good.csv", "--scheduler", "ashaa"), "ashaa"),
    (("simulate", "good.csv", "--figure", "new.xyz", "--repeats", "2"), "xyz"),
    (("simulate", "good.csv", "--figure", "empty/new.png", "--repeats", "2"), "empty/new.png"),
    (("runs", "nowhere"), "nowhere"),
    (("runs", "tiny.yaml"), "tiny.yaml"),
    (("report", "nowhere"), "nowhere"),
    (("report", "cut-run-001"), "trials.parquet"),
    (("report", "odd-run-001"), "trials.parquet"),
    (("report", "bare-run-001"), "bare-run-001"),
    (("evaluate", "cut-run-001"), "trials.parquet"),
    (("evaluate", "tiny.yaml"), "tiny.yaml"),
    (("evaluate", "run-001", "--lm", "nowhere.arpa"), "nowhere.arpa"),
    (("evaluate", "run-001", "--tune-lm"), "--tune-lm"),
    (("language", "build"), "no text"),
    (("language", "build", "nowhere.txt", "--out", "new.arpa"), "nowhere.txt"),
    (("language", "build", "binary", "--out", "new.arpa"), "binary"),
    (("language", "build", "empty", "--out", "new.arpa"), "no text"),
    (("space", "--write", "nowhere.md"), "nowhere.md"),
    (("space", "--write", "page.md"), "page.md"),
    (("space", "--write", "binary"), "binary"),
    # URIs, empty arguments and unknown words
    ((*RUN, "--data", "ftp://host/data"), "ftp://host/data"),
    ((*RUN, "--data", "file://host/data"), "file://host/data"),
    ((*RUN, "--data", "file:///no%20where"), "/no where"),
    ((*RUN, "--storage", "s3://KEY:SECRET@bucket/runs"), "s3://***@bucket"),
    ((*TRAIN[:2], "--data", "s3://bucket/data"), "s3://bucket/data"),
    (("storage", "fetch", "here"), "here"),
    (("storage", "list", "ftp://host"), "ftp://host"),
    (("runs", ""), "empty"),
    (("runs", "--nothing"), "--nothing"),
    (("nothing",), "nothing"),
    (("train", "one.yaml"), "--data"),
]


NEW = ("--out", "shut/new")
ENDINGS = ("yaml", "pt", "arpa", "csv", "md", "hdf5", "txt")
SHUT = [
    (("run", "shut.yaml", "--data", "data", "--out", "mine/new"), "shut.yaml"),
    (("run", "tiny.yaml", "--data", "shut", "--out", "mine/new"), "shut"),
    (("run", "tiny.yaml", "--data", "some-shut", "--out", "mine/new"), "s1.hdf5"),
    (("run", "tiny.yaml", "--data", "data", "--split", "shut.yaml", *NEW), "shut.yaml"),
    (("run", "tiny.yaml", "--data", "data", *NEW), "shut"),
    (("run", "tiny.yaml", "--data", "data", "--out", "read-only/new"), "read-only"),
    (("run", "tiny.yaml", "--data", "data", "--storage", "read-only"), "read-only"),
    (("run", "tiny.yaml", "--data", "data", "--warm-start", "shut"), "shut"),
    (("run", "--resume", "shut"), "shut"),
    (("run", "--resume", "read-only/run-001"), "read-only/run-001"),
    (("run", "read-only/run-001", "--confirm", "1"), "read-only/run-001"),
    (("train", "shut.yaml", "--data", "data", "--out", "mine/new.pt"), "shut.yaml"),
    (("train", "one.yaml", "--data", "shut", "--out", "mine/new.pt"), "shut"),
    (("train", "one.yaml", "--data", "some-shut", "--out", "mine/new.pt"), "s1.hdf5"),
    (("train", "one.yaml", "--data", "data", "--out", "read-only/new.pt"), "read-only/new.pt"),
    (("train", "one.yaml", "--data", "data", "--out", "shut/new.pt"), "shut/new.pt"),
    (("train", "one.yaml", "--data", "data", "--resume", "shut.pt"), "shut.pt"),
    (("evaluate", "shut"), "shut"),
    (("evaluate", "read-only/run-001", "--test"), "read-only/run-001"),
    (("evaluate", "run-001", "--lm", "shut.arpa"), "shut.arpa"),
    (("report", "shut"), "shut"),
    (("report", "run-001", "--out", "read-only/new"), "read-only/new"),
    (("report", "run-001", "--out", "shut"), "shut"),
    (("report", "read-only/run-001"), "read-only/run-001"),
    (("runs", "shut"), "shut"),
    (("simulate", "shut.csv"), "shut.csv"),
    (("simulate", "good.csv", "--repeats", "2", "--figure", "read-only/new.png"), "read-only"),
    (("space", "--write", "shut.md"), "shut.md"),
    (("space", "--write", "read-only/page.md"), "read-only"),
    (("sessions", "inspect", "shut.hdf5"), "shut.hdf5"),
    (("sessions", "inspect", "shut"), "shut"),
    (("sessions", "inspect", "some-shut"), "s1.hdf5"),
    (("sessions", "inspect", "s0.hdf5", "--plot", "read-only/new.png"), "read-only/new.png"),
    (("windows", "prepare", "shut"), "shut"),
    (("windows", "prepare", "some-shut"), "s1.hdf5"),
    (("synthetic", "read-only/new", "--sessions", "1", "--minutes", "0.25"), "read-only/new"),
    (("factory", "shut.yaml"), "shut.yaml"),
    (("language", "build", "shut.txt", "--out", "mine/new.arpa"), "shut.txt"),
    (("language", "build", "text.txt", "--out", "read-only/new.arpa"), "read-only/new.arpa"),
    (("export", "shut.pt", "--to", "torch", "--out", "mine/new.pt"), "shut.pt"),
    (("export", "best.pt", "--to", "torch", "--out", "read-only/new.pt"), "read-only/new.pt"),
    (("export", "best.pt", "--to", "onnx", "--out", "shut/new.onnx"), "shut/new.onnx"),
    (("stream", "shut.pt", "s0.hdf5"), "shut.pt"),
    (("stream", "best.pt", "shut.hdf5"), "shut.hdf5"),
]
"""What a user may not read, enter or write, and what the message names."""
