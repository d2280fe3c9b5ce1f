"""`calibrate` as a shell sees it."""

import json

import pytest


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nolaw",), "law: nolaw: unknown"),
        (("chinchilla", "--plant", "typo"), "plant: typo: unknown"),
        (("chinchilla", "--design", "none.csv"), "none.csv"),
        (("chinchilla", "--figure", "ranks.txt"), "--figure: ranks.txt: must end in"),
        (("chinchilla", "--text", "english"), "--design: grid: has no columns and no text"),
        (("chinchilla", "--fits", "0"), "--fits"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_anything_is_written(moebook, tmp_path, words, says):
    code, out, err = moebook("calibrate", *words)
    assert code == 2 and out == "" and says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_calibration_is_made_shown_and_gone_on_with(moebook, tmp_path):
    code, out, err = moebook("calibrate", "chinchilla", "--fits", 3, "--out", "kept", "--figure", "ranks.svg")
    assert code == 0 and "no rank tells against uniform" in out and "3 fits of 36 runs (grid)" in out
    assert "fit 3 of 3" in err
    assert "<svg" in (tmp_path / "ranks.svg").read_text()
    first = json.loads((tmp_path / "kept" / "chinchilla.json").read_text())
    code, out, _ = moebook("calibrate", "chinchilla", "--fits", 4, "--out", "kept", "--json")
    found = json.loads(out)
    assert code == 0 and found["fits"] == 4 and found["calibrated"] and found["identity"] == first["identity"]
    again = json.loads((tmp_path / "kept" / "chinchilla.json").read_text())
    assert again["fits"][:3] == first["fits"]
    code, _, err = moebook("calibrate", "chinchilla", "--fits", 4, "--out", "kept", "--seed", 1)
    assert code == 2 and "holds another calibration: seed" in err and "--force" in err
