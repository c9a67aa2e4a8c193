"""The study of the cells: its gradients and its copy task by hand, its commands, and what is done is not done again."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from captioner.cli import app
from captioner.errors import ConfigError, DataError
from captioner.inference.cell_study import Copied, Trained, findings, rows
from captioner.inference.study_page import render
from captioner.model.attention import DotAttention
from captioner.model.cells import CELLS, CellState, RNNCell
from captioner.model.decoder import Attend, ShowAndTell
from captioner.training.copy_task import CopyTask, copy_accuracy, draw_sequences
from captioner.training.gradient_flow import gradient_flow, gradient_norms, longest_captions
from captioner.training.loop import Interrupted
from pipelines import STOPPED
from pipelines import study as module
from pipelines.prepare import prepare
from tests.test_evaluation import Page

RECIPE = """\
[vocabulary]
min_count = 1
[encoder]
name = "tf_efficientnet_lite0"
size = 32
mirrored = false
[decoder]
hidden_size = 8
embedding_size = 8
attention_size = 8
[training]
max_steps = 2
evaluations = 1
pictures_per_batch = 4
bf16 = "never"
"""
SEED = 0


# How gradients survive


def test_in_a_plain_cell_of_one_unit_a_gradient_shrinks_by_the_weight_and_the_slope_of_every_step() -> None:
    cell = RNNCell(1, 1)
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), (0.7, 0.9, 0.1, 0.0), strict=True):
            parameter.fill_(value)  # weight_ih, weight_hh, bias_ih, bias_hh
    first = torch.tensor([[0.3]], requires_grad=True)
    state = CellState(torch.zeros(1, 1), torch.zeros(1, 1))
    hidden, expected, slopes = [], [], 1.0
    for time in range(6):
        state = cell(first if time == 0 else torch.zeros(1, 1), state)
        hidden.append(state.hidden.squeeze(1))
        slopes *= 1 - float(state.hidden.detach()) ** 2  # the derivative of tanh
        expected.append([0.7 * 0.9**time * slopes])
    assert gradient_norms(hidden, first).tolist() == [pytest.approx(row) for row in expected]


@pytest.mark.parametrize("kind", ["attend", "show_and_tell"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_through_a_decoder_are_those_of_its_embedding(kind: str, cell: str) -> None:
    """A word that a caption says once gets its gradient from where it is read, if the output layer is left out."""
    torch.manual_seed(SEED)
    own = CELLS[cell](6, 5)
    sizes = {"feature_size": 4, "vocabulary_size": 12, "dropout": 0.5}
    attention = DotAttention(query_size=5, key_size=5, attention_size=5)
    decoder = (
        ShowAndTell(own, **sizes) if kind == "show_and_tell" else Attend(own, attention, **sizes, sentinel=False)
    ).eval()
    features, words = torch.randn(1, 3, 4), torch.tensor([[5, 6, 7, 8]])
    flow = gradient_flow(decoder, features, words)
    assert flow[0] == 1
    norms = []
    for later in (1, 2, 3):
        embedding = decoder.embedding.weight.detach().clone()
        decoder.embedding.weight = torch.nn.Parameter(embedding.clone())
        state, said = decoder.start(features, rows=1), None
        for word in [1, *words[0, :later].tolist()]:
            said = decoder.step(decoder.embed(torch.tensor([[word]])), state)
            state = said.state
        logits = torch.tanh(decoder.output(said.output[0, 0])) @ embedding.T + decoder.output_bias
        torch.nn.functional.cross_entropy(logits, words[0, later]).backward()
        norms.append(float(decoder.embedding.weight.grad[5].norm()))
    assert flow == pytest.approx([norm / norms[0] for norm in norms], rel=1e-4)


def test_gradients_are_followed_through_the_longest_captions_cut_to_the_same_length() -> None:
    captions = [[[5], [6, 7, 8, 9]], [[5, 6]], [[7, 8, 9], [5]]]
    pictures, words = longest_captions(captions, 2)
    assert pictures.tolist() == [0, 2]
    assert words.tolist() == [[6, 7, 8], [7, 8, 9]]


# The copy task


def test_a_symbol_comes_first_and_nothing_after_it_tells_which_it_was() -> None:
    task = CopyTask("rnn", gap=3, seed=SEED, steps=0, symbols=4)
    seen, answers = draw_sequences(task, 50, torch.Generator().manual_seed(SEED))
    assert seen.shape == (50, 5)
    assert (seen[:, 0] == answers).all()
    assert ((seen[:, 1:4] >= 4) & (seen[:, 1:4] < 8)).all()
    assert (seen[:, 4] == 8).all()


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_learns_to_copy_over_one_distractor_and_guesses_before(cell: str) -> None:
    task = CopyTask(cell, gap=1, seed=SEED, steps=0, symbols=4, hidden_size=16, learning_rate=0.02)
    assert copy_accuracy(task) == pytest.approx(1 / 4, abs=0.1)
    assert copy_accuracy(CopyTask(**{**vars(task), "steps": 80})) > 0.95


# The page


def _trained(kind: str, cell: str, seed: int, cider_d: float) -> Trained:
    flow = [0.5**later for later in range(12)]
    return Trained(
        kind,
        cell,
        seed,
        f"captioner train --set training.seed={seed}",
        1000,
        [(1, 4.0), (2, 3.0)],
        cider_d,
        cider_d / 2,
        flow,
        [0.0 if share < 1e-3 else share for share in flow],
    )


def test_a_row_tells_the_mean_and_the_range_of_its_seeds() -> None:
    [row] = rows([_trained("attend", "gru", 0, 10.0), _trained("attend", "gru", 1, 13.0)])
    assert row.label == "GRU, with attention"
    assert row.cider_d.told() == "11.5 (10.0 – 13.0)"
    assert row.bleu_4.told() == "5.8 (5.0 – 6.5)"


def test_the_sentences_follow_from_the_figures() -> None:
    table = rows(
        [
            *(_trained("attend", "gru", seed, score) for seed, score in enumerate((10.0, 13.0))),
            *(_trained("attend", "rnn", seed, score) for seed, score in enumerate((9.0, 10.5))),
            *(_trained("show_and_tell", cell, 0, score) for cell, score in (("gru", 8.0), ("rnn", 9.0))),
        ]
    )
    copied = [
        Copied("lstm", 5, 0, 1.0),
        Copied("lstm", 10, 0, 1.0),
        Copied("lstm", 10, 1, 0.5),
        Copied("rnn", 5, 0, 0.2),
    ]
    told = findings(table, copied, chance=0.125)
    assert told[0].endswith("is the GRU’s, 11.5 (10.0 – 13.0), but the range of the RNN overlaps with its own.")
    assert told[1].endswith("is the RNN’s, 9.0; from one seed each, which may be chance.")
    assert told[2] == "With attention instead of without, the mean CIDEr-D changes by +0.8 (RNN), +3.5 (GRU)."
    assert "fresh RNN 1/512, GRU 1/512; trained RNN 1/512" in told[3]
    assert told[-1].endswith("RNN none, LSTM 5; guessing gets 12.5%.")


def test_a_loss_curve_is_means_over_equal_stretches_even_of_a_run_that_went_back(tmp_path: Path) -> None:
    steps = [(1, 9.0), (2, 9.0), (3, 9.0), *((step, float(step)) for step in range(2, 42))]
    (tmp_path / "losses.jsonl").write_text("".join(f"[{step}, {loss}]\n" for step, loss in steps))
    curve = module._loss_curve(tmp_path / "losses.jsonl")
    assert [step for step, _ in curve] == [*range(2, 39, 2), 41]
    assert curve[0] == (2, (9 + 2) / 2)
    assert curve[-1] == (41, (39 + 40 + 41) / 3)


def test_the_page_of_a_study_shows_what_there_is_and_escapes_it() -> None:
    assert Page(render([], [], chance=0.125, settings={})).tags.count("polyline") == 0
    trained = _trained("attend", "gru", 0, 10.0)._replace(command="<script>")
    page = Page(render([trained], [Copied("gru", 5, 0, 1.0)], chance=0.125, settings={"data": "<script>"}))
    assert page.tags.count("polyline") == 4
    assert "script" not in page.tags
    assert "<script>" in page.text


# The command


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawings that are prepared, and a recipe."""
    folder = tmp_path_factory.mktemp("study")
    prepare("shapes", out=folder / "data", train=8, validation=4, test=1, size=32)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def told_by(command: list[str]) -> str:
    answer = CliRunner().invoke(app, command, catch_exceptions=False)
    assert answer.exit_code == 0
    return answer.output


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
def test_every_row_has_a_command_that_gives_its_figures_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is finished is not done again."""
    monkeypatch.chdir(here)
    command = shlex.split("study cells recipe.toml --data data --out out --seeds 1 --gap 1 --copy-steps 2")
    assert "attend-lstm-0" in told_by(command)
    results = json.loads(Path("out/results.json").read_text())
    assert len(results["trained"]) == 6
    assert [copied["cell"] for copied in results["copied"]] == ["rnn", "gru", "lstm"]
    page = Page(Path("out/report.html").read_text())
    assert page.tags.count("polyline") == 6 + 6 + 6 + 3
    row = results["trained"][4]
    assert row["command"] in page.text

    name, *again = shlex.split(row["command"])
    assert name == "captioner"
    told_by(again)
    [evaluated] = [json.loads(line) for line in Path("runs/show_and_tell-gru-0/metrics.jsonl").read_text().splitlines()]
    assert (evaluated["cider_d"], evaluated["bleu_4"]) == (row["cider_d"], row["bleu_4"])
    weights = [Path(run, "show_and_tell-gru-0/best/model.safetensors").read_bytes() for run in ("out", "runs")]
    assert weights[0] == weights[1]

    # A study that was killed before the figures of one run were kept.
    lines = Path("out/finished.jsonl").read_text().splitlines(keepends=True)
    Path("out/finished.jsonl").write_text("".join(lines[:5] + lines[6:]))
    assert re.findall(r"^(\S+):", told_by(command), re.MULTILINE) == ["show_and_tell-lstm-0"]
    assert json.loads(Path("out/results.json").read_text()) == results


def test_a_study_that_is_stopped_ends_with_a_code_of_its_own_and_goes_on_as_it_began(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise Interrupted("Stopped.")

    monkeypatch.chdir(here)
    monkeypatch.setattr(module, "_learn", interrupted)
    answer = CliRunner().invoke(module.study, shlex.split("cells recipe.toml --data data --out stopped"))
    assert answer.exit_code == STOPPED
    assert "the same command goes on" in answer.output

    def asked(line: str) -> int:
        return CliRunner().invoke(module.study, shlex.split(line), catch_exceptions=False).exit_code

    assert asked(f"cells recipe.toml --data {shlex.quote(str(here / 'data'))} --out stopped --seeds 5") == STOPPED
    with pytest.raises(ConfigError, match="choose another --out"):
        asked("cells recipe.toml --data data --out stopped --set training.max_steps=3")


def test_a_missing_collection_is_told_before_anything_is_made(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    with pytest.raises(DataError, match="captioner prepare"):
        CliRunner().invoke(app, shlex.split("study cells recipe.toml --data no --out none"), catch_exceptions=False)
    assert not Path("none").exists()


def test_a_recipe_that_would_change_the_cnn_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    command = shlex.split("study cells recipe.toml --data data --out refused --set training.tuned_blocks=1")
    with pytest.raises(ConfigError, match=r"compares decoders alone.*training\.tuned_blocks"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not Path("refused").exists()
