"""The `captioner` command: one subcommand per pipeline, and `demo`.

Nothing heavy is imported here or at the top of a pipeline, so that `captioner --help` answers at once.
"""

import typer

from captioner.app.__main__ import demo
from captioner.pipelines import run
from captioner.pipelines.average import average
from captioner.pipelines.benchmark import benchmark
from captioner.pipelines.calibrate import calibrate
from captioner.pipelines.caption import caption
from captioner.pipelines.compare import compare
from captioner.pipelines.evaluate import evaluate
from captioner.pipelines.explain import explain
from captioner.pipelines.export import export
from captioner.pipelines.label import label
from captioner.pipelines.merge import merge
from captioner.pipelines.pack import pack
from captioner.pipelines.prepare import prepare
from captioner.pipelines.push import push
from captioner.pipelines.report import report
from captioner.pipelines.study import study
from captioner.pipelines.teach import teach
from captioner.pipelines.throughput import throughput
from captioner.pipelines.train import train
from captioner.pipelines.tune import tune
from captioner.pipelines.verify import verify
from captioner.pipelines.vocabulary import vocabulary

app = typer.Typer(
    name="captioner",
    help="Caption pictures with a small CNN and LSTM; train, evaluate and question it.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    *(caption, explain, demo),
    *(verify, merge),
    *(label, prepare, train, report, evaluate, compare, teach),
    *(tune, average, calibrate, pack, export, push, vocabulary, benchmark, throughput),
):
    app.command()(command)
app.add_typer(study, name="study")


def main() -> None:
    """Run the command the shell was given."""
    run(app)


if __name__ == "__main__":
    main()
