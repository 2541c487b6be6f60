"""The card of an exported model: what it is, what to expect of it, how to use it. Markdown."""

from collections.abc import Mapping, Sequence

from ndecore.member_files import file_member
from ndecore.metrics import Metric
from reports.confirmed_table import ConfirmedRow
from reports.export import ExportedConfig
from reports.wording import gap_text, title_with_unit, value_text

_USE = """## Use it

    nde-study verify {folder}{option}                # is it whole, and does it hold what it promises?
    nde-study train {folder}/config.yaml{option}     # train it again from the config alone
    mlflow models serve -m {folder}/model --env-manager local --port 5001
    curl -H 'Content-Type: application/json' -d @{folder}/model/serving_input_example.json http://127.0.0.1:5001/invocations

It takes {inputs} and returns {outputs}. One step size serves a whole batch, so that what a batch costs, and its
last digits, depend on what is in it. `weights.safetensors` holds numbers alone; nothing here is a pickle.
Checksums are no signature: `nde-study verify --sha256` takes the digest that `nde-study export` told. Serving runs the
code in `model/`; `nde-study verify` compares it with its own first.{code}"""
_CODE = """ Code of the task's own is in `code/`: whatever loads the model
runs it with your rights, so read it first."""


def model_card(
    config: ExportedConfig, row: ConfirmedRow | None, metrics: Mapping[str, Metric], inputs: str, outputs: str
) -> str:
    """The text of an export's README.md.

    Args:
        config: what is exported.
        row: what new seeds said of its config, if anybody asked.
        inputs: what the model takes, in words: "float32 [batch, 64]".
        outputs: what it returns.
    """
    label = f" ({config.label})" if config.label else ""
    trained = f"{config.config.get('solver')} at a relative tolerance of {config.config.get('rtol')}"
    lines = [
        f"# Trial {config.trial}{label} of {config.study}",
        "",
        f"A neural differential equation for the task `{config.task}`, chosen as: {config.role}. Trained with {trained}"
        + (f", to be solved with {config.deployment}." if config.deployment else ".")
        + f" Regularizer: `{config.config.get('regularizer', 'none')}`.",
        "",
        *([config.comparison, ""] if config.comparison else []),
        "## What to expect",
        "",
        "The trained weights on the validation split, and by how much other hardware may miss it. Seconds are of the",
        "machine that trained it.",
        "",
        *_expected(config, metrics),
        *_confirmed(row, metrics),
        "",
        _USE.format(folder="DIR", inputs=inputs, outputs=outputs, **_own_code(config)),
        "",
        "## Made with",
        "",
        *(f"- {name} {version}" for name, version in config.versions.items()),
        "",
        "## The config",
        "",
        "| key | value |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in config.config.items()),
        "",
    ]
    return "\n".join(lines)


def _own_code(config: ExportedConfig) -> dict[str, str]:
    """What whoever uses it must say and know where it names files of the user's."""
    has_code = any(file_member(name) for name in (config.task, *config.config.values()))
    return {"option": " --run-code", "code": _CODE} if has_code else {"option": "", "code": ""}


def _expected(config: ExportedConfig, metrics: Mapping[str, Metric]) -> Sequence[str]:
    rows = []
    for name, value in config.expected.items():
        slack = config.tolerances.get(name)
        metric = metrics.get(name)
        text = value_text(metric, value) if metric else gap_text(value)
        heading = title_with_unit(metric) if metric else "solver gap"
        allowed = "" if slack is None else value_text(metric, slack) if metric else gap_text(slack)
        rows.append(f"| {heading} | {text} | {allowed} |")
    return ["| metric | value | tolerance |", "|---|---|---|", *rows]


def _confirmed(row: ConfirmedRow | None, metrics: Mapping[str, Metric]) -> Sequence[str]:
    if row is None:
        return [
            "",
            "Not confirmed: one seed, the best of many, which flatters it. `nde-study confirm` trains it again.",
        ]
    if not row.intervals:
        return ["", f"Its config, trained again with new seeds, diverged {row.reason}."]
    n = next(iter(row.intervals.values())).n
    told = [f"Its config, trained again with {n} new seeds, on the test split (means, 95 % intervals):"]
    table = []
    for name, interval in row.intervals.items():
        mean, low, high = (value_text(metrics[name], v) for v in (interval.mean, interval.low, interval.high))
        table.append(f"| {title_with_unit(metrics[name]).replace('validation', 'test')} | {mean} | {low} to {high} |")
    sure = f"It is not dominated in {100 * row.probability:.0f} % of the resamples of these seeds."
    return ["", *told, "", "| metric | mean | interval |", "|---|---|---|", *table, "", sure]
