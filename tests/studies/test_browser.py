"""What a person sees in MLflow: charts of the trials, and the front drawn in the study's artifact page."""

import mlflow
import pytest
from command_line import Ended, interrupt, start
from playwright.sync_api import sync_playwright

from reports.records import Kind, Tag

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
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def test_the_page_of_a_study_opens_in_the_training_view_with_charts_of_its_trials(address, page, tmp_path):
    page.goto(address)
    card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text="accuracy").first
    card.locator(".scatterlayer .trace .point").first.wait_for()
    page.screenshot(path=tmp_path / "charts.png")
    assert card.locator(".scatterlayer .trace").count() >= 5  # a line per trial that trained
    for name in ("trial 0000 plain", "trial 0001 damped", "trial 0005", "study"):
        assert page.get_by_role("link", name=name, exact=True).is_visible()
    assert page.get_by_text("Model registry").is_visible()  # of the training side bar; that for agents has none
    assert not page.get_by_text("Agent versions").is_visible()


def test_the_front_is_drawn_in_the_artifact_page_of_the_study(address, small, page, tmp_path):
    client = mlflow.MlflowClient(tracking_uri=small.uri)
    experiment = client.get_experiment_by_name("small").experiment_id
    (run,) = client.search_runs([experiment], filter_string=f"tags.`{Tag.KIND}` = '{Kind.STUDY}'")
    server = address.partition("#")[0]
    page.goto(f"{server}#/experiments/{experiment}/runs/{run.info.run_id}/artifacts/front.html")
    figure = page.frame_locator("iframe")
    figure.locator(".main-svg .scatterlayer .point").first.wait_for()
    page.screenshot(path=tmp_path / "front.png")
    assert figure.locator(".scatterlayer .point").count() >= 3 * 5  # five trials in three panels
    assert figure.get_by_text("knee").first.is_visible()
