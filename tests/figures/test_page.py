"""Figures as inline SVG, tables as HTML, numbers as people write them."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from moebook.figures import fit, optimum, page, runs, style, training, tuning

CELLS = pd.DataFrame(
    {
        "compute_flops": 3e10, "sparsity": [0.0] * 3 + [0.75] * 3, "width": [12, 16, 24] * 2,
        "params": [9e3, 13e3, 24e3, 20e3, 30e3, 60e3], "params_active": [9e3, 13e3, 24e3] * 2,
        "loss_nats": [2.5, 2.4, 2.45, 2.3, 2.35, 2.4], "loss_sd_nats": [0.01, np.nan, 0.02] * 2,
    }
)  # fmt: skip
AT_SIZES = pd.DataFrame(
    {
        "compute_flops": 3e10, "size": [0] * 3 + [1] * 3, "params": [20e3] * 3 + [50e3] * 3,
        "sparsity": [0.0, 0.5, 0.75] * 2, "loss_nats": [2.5, 2.4, 2.45, 2.5, 2.45, 2.4],
    }
)  # fmt: skip


def all_figures():
    generator = np.random.default_rng(0)
    loss = np.linspace(2.5, 2.0, 12)
    best = CELLS.loc[[1, 3]].assign(bracketed=[True, False])
    deviations = pd.DataFrame({"sparsity": [0, 0, 0.75, 0.75], "deviation_nats": [0.01, -0.01, 0.02, -0.02]})
    return {
        "isoflop": runs.isoflop_profile(CELLS, 3e10, [0, 0.75]),
        "gain": runs.gain_from_sparsity(best),
        "fixed": runs.loss_by_sparsity(CELLS, 3e10),
        "sizes": runs.loss_at_sizes(AT_SIZES, 3e10),
        "noise": runs.seed_noise(deviations),
        "rate": tuning.loss_by_rate({0.0: ([4e-3, 8e-3], [2.1, 2.0])}, [0, 0.75], rule={0.0: 7e-3}),
        "curves": training.loss_curves({"dense": ([100, 1000], [5, 3])}),
        "load": training.router_load(np.full((2, 8), 1 / 8), 2),
        "terms": training.terms({"S = 0": {"experts": 3, "output": 1}}, "parameters"),
        "check": fit.predictive_check(loss + 0.01, loss - 0.05, loss, loss + 0.05, [0, 0.75] * 6),
        "contraction": fit.contraction({"beta": 0.9, "psi": 0.1}),
        "fan": optimum.sparsity_by_budget(
            [1e10, 1e11, 1e12], generator.uniform(0, 0.9, (50, 3)), (1e10, 1e11), 0.9
        ),
        "claims": optimum.claims({"H1": 0.9, "H6": 0.5}),
    }


@pytest.mark.parametrize("name", sorted(all_figures()))
def test_every_figure_is_one_well_formed_svg_in_the_colour_of_the_page(name):
    figure = all_figures()[name]
    text = page.svg(figure, f"a figure & its <label> {name}")
    root = ElementTree.fromstring(text)
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] == f"a figure & its <label> {name}"
    assert "width" not in root.attrib and "viewBox" in root.attrib  # the page decides the width
    assert "currentColor" in text and style.INK not in text
    assert not re.search(r"#000000|#ffffff", text), "black or white ink is lost on a dark or a light page"


@pytest.mark.parametrize(
    "name", ["isoflop", "gain", "fixed", "sizes", "rate", "noise", "curves", "load", "check", "fan"]
)
def test_axes_name_what_they_show_and_its_unit(name):
    [axes] = all_figures()[name].axes
    assert axes.get_xlabel() and (axes.get_ylabel() or axes.get_yticklabels())
    words = axes.get_xlabel() + axes.get_ylabel()
    assert re.search(r"nat|FLOPs|%|bytes|sparsity|parameters", words)


def test_two_figures_on_a_page_share_no_id():
    first, second = (page.svg(runs.isoflop_profile(CELLS, 3e10, [0, 0.75]), "one") for _ in range(2))
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    for text, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r"(?:url\(|href=\")#([^\")]+)", text)) <= own


def test_the_lowest_cell_of_each_line_is_drawn_large():
    [axes] = runs.isoflop_profile(CELLS, 3e10, [0, 0.75]).axes
    large = sorted(
        (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_markersize() > 6
    )
    assert large == [(9e3, 2.3), (13e3, 2.4)]


def test_the_lowest_cell_is_hollow_where_it_is_at_an_end():
    [axes] = runs.isoflop_profile(CELLS, 3e10, [0, 0.75]).axes
    large = {line.get_xdata()[0]: line for line in axes.lines if line.get_markersize() > 6}
    assert large[9e3].get_markerfacecolor() == "none", "the smallest of its line: the best may lie beyond"
    assert large[13e3].get_markerfacecolor() == large[13e3].get_color()
    left_out = [set(range(3)) - set(bars.lines[0].get_markevery()) for bars in axes.containers]
    assert left_out == [{1}, {0}], "the lowest is not drawn small, and filled, once more"


def test_the_best_sparsity_of_a_size_is_hollow_where_it_is_the_last():
    [axes] = runs.loss_at_sizes(AT_SIZES, 3e10).axes
    large = {line.get_xdata()[0]: line for line in axes.lines if line.get_markersize() == 8}
    assert {x: line.get_markerfacecolor() == "none" for x, line in large.items()} == {1.0: False, 2.0: True}
    assert [text.get_label() for text in axes.lines if text.get_markersize() < 8] == ["N = 20 k", "N = 50 k"]


def test_a_width_looks_the_same_at_every_budget():
    more = pd.concat([CELLS, CELLS[CELLS["width"] > 12].assign(compute_flops=1e11)])
    looks = []
    for budget in (3e10, 1e11):
        [axes] = runs.loss_by_sparsity(more, budget).axes
        lines = {text.get_label(): text.lines[0] for text in axes.containers}
        looks.append({name: (line.get_color(), line.get_marker()) for name, line in lines.items()})
    assert set(looks[0]) == {"width 12", "width 16", "width 24"} and set(looks[1]) == {"width 16", "width 24"}
    assert looks[1].items() <= looks[0].items() and len(set(looks[0].values())) == 3


def test_a_drawing_does_not_depend_on_the_callers_settings():
    import matplotlib

    with matplotlib.rc_context({"axes.grid": False, "font.size": 30, "legend.frameon": True}):
        ours = runs.isoflop_profile(CELLS, 3e10, [0, 0.75])
    same = runs.isoflop_profile(CELLS, 3e10, [0, 0.75])
    strip = [re.sub(r"f\d+-", "", page.svg(figure, "one")) for figure in (ours, same)]
    assert strip[0] == strip[1]


def test_a_table_escapes_formats_and_folds():
    frame = pd.DataFrame({"a<b": ["x & y", "<script>"], "n": [1234.5, np.nan]})
    text = page.table(frame, "caption", {"n": "{:,.1f}"}, fold="All of it")
    assert "a&lt;b" in text and "x &amp; y" in text and "<script>" not in text
    assert "1,234.5" in text and '<td class="mb-number">–</td>' in text
    assert text.startswith("<details") and "<summary>All of it</summary>" in text
    ElementTree.fromstring(text)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (style.sparsity_text(0), "0"),
        (style.sparsity_text(15 / 16), "15/16"),
        (style.sparsity_text(0.91234), "0.912"),
        (style.flops_text(3e11), "3·10¹¹"),
        (style.flops_text(1e12), "10¹²"),
        (style.flops_text(2.5e-3), "2.5·10⁻³"),
        (style.count_text(999), "999"),
        (style.count_text(24_024), "24 k"),
        (style.count_text(1_000_000), "1 M"),
        (style.count_text(1.34e9), "1.3 G"),
    ],
)
def test_numbers_as_people_write_them(made, expected):
    assert made == expected
