"""What a person sees of a finished study in MLflow, in a real browser without the internet."""

import re
from dataclasses import replace

import mlflow
import pytest
from command_line import Ended, interrupt, mlflow_server, start
from large_study import large_study
from playwright.sync_api import sync_playwright

from reports.pareto import front
from reports.report import study_report
from reports.report_files import write_report
from reports.vocabulary import Kind, Tag
from studies.experiment import open_experiment
from studies.ledger import Ledger
from studies.tracking import Tracker

pytestmark = [pytest.mark.browser, pytest.mark.cluster]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
HERE = ("http://127.0.0.1", "file:", "data:", "about:")


@pytest.fixture(scope="module")
def address(small):
    """What `nde-study ui` prints."""
    process = start("ui", "small", "--no-browser", cwd=small.home)
    process.stdout.readline()
    yield process.stdout.readline().strip()
    interrupt(process)
    Ended(process)


@pytest.fixture
def page():
    """A page that reaches this machine alone, and fails the test at an error of its scripts."""
    errors = []

    def note(error):  # playwright takes no built-in method
        errors.append(error)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1700, "height": 1100})
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", note)
        page.route(
            lambda url: not url.startswith(("http://127.0.0.1", "file:", "data:", "about:")),
            lambda route: route.abort(),
        )
        yield page
        browser.close()
    assert not errors


@pytest.fixture(scope="module")
def study_run(small):
    """The address of the study's own run, below that of the server."""
    client = mlflow.MlflowClient(tracking_uri=small.uri)
    experiment = client.get_experiment_by_name("small").experiment_id
    (run,) = client.search_runs([experiment], filter_string=f"tags.`{Tag.KIND}` = '{Kind.STUDY}'")
    return f"#/experiments/{experiment}/runs/{run.info.run_id}"


def task_seconds(session):
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def card(page, text):
    return page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text=text).first


def test_the_page_of_a_study_opens_in_its_own_view_with_charts_of_its_trials(address, page, tmp_path):
    page.goto(address)
    for name in ("nfe vs. accuracy", "train_s vs. nfe"):
        points = card(page, name).locator(".scatterlayer .trace .point")
        points.first.wait_for()
        assert points.count() >= 5  # one per trial that trained
    card(page, "Parallel Coordinates").locator("canvas, svg").first.wait_for()
    curves = card(page, "accuracy").locator(".scatterlayer .trace")
    curves.first.wait_for()
    page.screenshot(path=tmp_path / "charts.png")
    for heading, n_charts in (("Trade-off", 3), ("Learning curves", 4), ("The study", 2)):
        assert page.get_by_role("button").filter(has_text=re.compile(rf"{heading}\s*\({n_charts}\)")).count()
    for name in ("trial 0000 plain", "trial 0001 damped", "trial 0005", "study"):
        assert page.get_by_role("link", name=name, exact=True).is_visible()
    assert page.get_by_text("Model registry").is_visible()  # of the training side bar; that for agents has none
    assert not page.get_by_text("Agent versions").is_visible()


def test_the_table_has_the_columns_of_the_view(address, page, tmp_path):
    page.goto(address.replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    page.get_by_role("columnheader").filter(has_text="nde.front").first.wait_for()
    page.screenshot(path=tmp_path / "table.png")
    heads = page.get_by_role("columnheader").all_inner_texts()
    for head in ("nde.front", "nde.label", "accuracy", "nfe", "train_work", "best_accuracy"):
        assert any(head in each for each in heads), heads
    assert page.get_by_role("gridcell").filter(has_text="knee").count() == 1


def test_the_front_is_drawn_in_the_artifact_page_of_the_study(address, study_run, page, tmp_path):
    page.goto(f"{address.partition('#')[0]}{study_run}/artifacts/front.html")
    figure = page.frame_locator("iframe")
    figure.locator(".main-svg .scatterlayer .point").first.wait_for()
    page.screenshot(path=tmp_path / "front.png")
    assert figure.locator(".scatterlayer .point").count() >= 3 * 5  # five trials in three panels
    assert figure.get_by_text("knee").first.is_visible()


def test_the_report_is_drawn_in_the_artifact_page_of_the_study(small, address, study_run, page, tmp_path):
    page.goto(f"{address.partition('#')[0]}{study_run}/artifacts/report.html")
    report = page.frame_locator("iframe")
    for anchor, drawn in (
        ("front", ".scatterlayer .point"),
        ("space", "canvas"),
        ("learning", ".scatterlayer .js-line"),
        ("solver", ".scatterlayer .js-line"),
        ("growth", ".scatterlayer .js-line"),
        ("machines", ".barlayer .point"),
    ):
        section = report.locator(f"section#{anchor}")
        section.scroll_into_view_if_needed()
        section.locator(drawn).first.wait_for()
    report.locator("section#front").scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "report.png")
    rows = report.locator("section#front tbody tr").all_inner_texts()
    members = front(Ledger(small.folder).record())
    assert [int(row.split()[0]) for row in rows][-len(members) :] == [member.number for member in members]
    assert report.locator("section#front tr.knee").count() == 1


def test_the_report_of_a_thousand_trials_opens_within_three_seconds(page, tmp_path):
    write_report(tmp_path, study_report(large_study(1000)))
    session, seconds = page.context.new_cdp_session(page), []
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # of the page's thread: others may be busy
    for _ in range(3):
        page.goto("about:blank")
        before = task_seconds(session)
        page.goto(f"file://{tmp_path}/report.html", wait_until="commit")
        page.locator("section#front .scatterlayer .point").first.wait_for()
        seconds.append(task_seconds(session) - before)
    assert min(seconds) < 3
    assert page.locator("section#front .scatterlayer .point").count() >= 3 * 900


def test_a_study_of_a_thousand_trials_opens_in_mlflow_without_an_error(page, tmp_path, port):
    study = large_study(1000)
    experiment = open_experiment(f"sqlite:///{tmp_path}/server.db", tmp_path, study.name)
    tracker = Tracker(experiment, study)
    tracker.close(study_report(replace(study, experiment_id=experiment.experiment_id)), finished=True)
    assert not tracker.failure
    with mlflow_server(tmp_path, port) as uri:
        view = "compareRunsMode=CHART&workflowType=machine_learning&viewStateShareKey=nde-study"
        page.goto(f"{uri}/#/experiments/{experiment.experiment_id}/runs?{view}")
        points = card(page, "nfe vs. accuracy").locator(".scatterlayer .trace .point")
        points.first.wait_for()
        assert points.count() >= 90  # of the first hundred runs, which MLflow loads at once
        page.screenshot(path=tmp_path / "thousand.png")
        assert not page.get_by_text("Something went wrong").count()
