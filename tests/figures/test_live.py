"""The live figures: what they carry, and (in a browser, network off) that they answer to their slider."""

import json
import re

import numpy as np
import pytest

from moebook.figures import live
from moebook.figures.style import unbroken

BUDGETS = [1e10, 1e11, 1e12]


def draws(count=400):
    generator = np.random.default_rng(3)
    return 1 - 2.0 ** -np.clip(generator.normal([1.5, 2.5, 3.5], 0.4, (count, 3)), 0, 5)


def payload(text):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def figure(star=None):
    star = draws() if star is None else star
    return live.posterior_of_sparsity(BUDGETS, star, (1e10, 1e11), 31 / 32, "Posterior of <S*>")


def test_it_carries_thinned_draws_to_a_hundredth_of_a_doubling():
    data = payload(figure())
    assert data["budgets"] == BUDGETS and data["top"] == 5
    carried = np.array(data["draws"]) / 100
    assert carried.shape == (3, live.DRAWS_SHOWN)
    assert np.allclose(carried, live.doublings(live.thin(draws(), live.DRAWS_SHOWN)).T, atol=0.0051)


def test_it_is_small_and_loads_nothing():
    text = live.posterior_of_sparsity(
        np.geomspace(1e10, 1e12, 40), np.repeat(draws(1000)[:, :1], 40, 1), (1e10, 1e11), 31 / 32, "x"
    )
    assert len(text) < 90_000, "a page stays light"
    assert not re.search(r"(src|href)=|url\(|@import", text)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_the_table_holds_the_quantiles_of_all_draws():
    rows = live.posterior_table(BUDGETS, draws(), 31 / 32)
    medians = np.median(draws(), axis=0)
    assert np.allclose(rows["median S*"].astype(float), medians, atol=0.005)
    low, high = (float(end) for end in rows["90 % interval"][0].split(" to "))
    assert np.allclose([low, high], np.quantile(draws()[:, 0], [0.05, 0.95]), atol=0.005)


def test_mass_at_the_edges_is_counted():
    star = np.array([[0.0], [0.0], [0.5], [31 / 32]])
    rows = live.posterior_table([1e10], star, 31 / 32)
    assert rows["draws at S = 0"][0] == "50 %" and rows["draws at S = 31/32"][0] == "25 %"


def test_an_optimum_at_the_edge_is_named_as_the_edge_everywhere():
    star = np.where(np.arange(100)[:, None] < 40, 0.9, 31 / 32) * np.ones((1, 3))
    rows = live.posterior_table(BUDGETS, star, 31 / 32)
    assert rows["median S*"][0] == "at the edge (≥ 31/32)"
    assert rows["90 % interval"][0] == "0.900 to edge (≥ 31/32)"
    assert rows["50 % interval"][0] == "0.900 to edge (≥ 31/32)"
    assert "0.969" not in figure(star) and payload(figure(star))["edge"] == [0.6] * 3
    assert "S* at the edge (≥ 31/32), 90 % interval" in live.posterior_in_words(
        1e11, star[:, 0], (1e10, 1e11), 31 / 32
    )


@pytest.mark.parametrize(
    "wrong", [np.zeros(3), np.zeros((5, 2)), np.full((5, 3), 1.0), np.full((5, 3), np.nan)]
)
def test_wrong_draws_are_refused(wrong):
    with pytest.raises(ValueError, match="sparsity_star"):
        figure(wrong)


def test_a_title_cannot_break_out_of_the_page():
    assert "Posterior of &lt;S*&gt;" in figure()


def losses():
    grid = np.array([0, 0.5, 0.75, 0.875])
    middle = 2 - 0.1 * np.array([[0, 1, 2, 1.5]]) * np.ones((3, 1)) - 0.1 * np.arange(3)[:, None]
    return grid, {"low": middle - 0.02, "middle": middle, "high": middle + 0.02}


def test_loss_against_sparsity_refuses_another_shape():
    grid, loss = losses()
    with pytest.raises(ValueError, match="loss_nats: low"):
        live.loss_against_sparsity(BUDGETS, grid, loss | {"low": loss["low"][:2]}, (1e10, 1e11), "x")


@pytest.mark.browser
def test_in_a_browser_without_network_the_slider_moves_the_numbers(chromium, tmp_path):
    grid, loss = losses()
    second = live.loss_against_sparsity(BUDGETS, grid, loss, (1e10, 1e11), "Loss")
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>t</title><body>{figure()}{second}</body>")
    chromium.open(path)

    def said():
        return chromium.evaluate("[...document.querySelectorAll('output')].map(o => o.textContent)")

    before = said()
    assert before[0].startswith("C = 10¹¹ FLOPs"), "starts at the largest budget with runs"
    assert "extrapolation" not in before[0]
    chromium.evaluate("document.querySelector('.mb-live input').focus()")
    for kind in ("keyDown", "keyUp"):
        chromium.send(
            "Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39
        )
    after = said()
    assert after[0] != before[0] and after[1] == before[1], "the arrow key moves its own figure only"
    assert after[0] == unbroken(live.posterior_in_words(1e12, draws()[:, 2], (1e10, 1e11), 31 / 32))
    rows = live.posterior_table(BUDGETS, draws(), 31 / 32)
    assert (
        f"S* = {rows['median S*'][2]}, 90 % interval {rows['90 % interval'][2]}".replace(
            " %", "\N{NO-BREAK SPACE}%"
        )
        in after[0]
    )
    assert "extrapolation" in after[0]
    assert chromium.evaluate("document.querySelectorAll('.mb-live svg rect').length") > 5
    assert "1.700" in after[1] and "S = 3/4" in after[1]
    assert chromium.errors == [] and all(url.startswith("file:") for url in chromium.requests)


@pytest.mark.browser
def test_without_scripts_the_table_remains(chromium, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>t</title><body>{figure()}</body>")
    chromium.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.send("Page.navigate", url=path.as_uri())
        chromium.wait_for("document.querySelectorAll('.mb-live tbody tr').length === 3")
        assert chromium.evaluate("document.querySelector('.mb-control').hidden") is True
    finally:
        chromium.send("Emulation.setScriptExecutionDisabled", value=False)
