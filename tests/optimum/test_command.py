"""`moebook optimum` as a shell sees it."""

import json

import pytest

from moebook.cli import main


def command(monkeypatch, capsys, *arguments):
    """(exit code, standard output, standard error) of the command line."""
    monkeypatch.setattr("sys.argv", ["moebook", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    return end.value.code or 0, out.out, out.err


@pytest.fixture
def stored(make, byte_models, tmp_path):
    folder = tmp_path / "runs" / "posteriors" / "mine"
    make([byte_models, dict(byte_models, delta=0.3)]).save(folder)
    return folder


def test_json_has_intervals_edges_and_identity(stored, monkeypatch, capsys):
    options = ("--compute", "3e11", "--params", "1e5", "--posterior", stored, "--json")
    code, out, _ = command(monkeypatch, capsys, "optimum", *options)
    found = json.loads(out)
    assert code == 0
    low, high = found["sparsity_star"]["interval_90"]
    assert 0 <= low <= found["sparsity_star"]["median"] <= high < 1
    assert found["params"] == 1e5 and found["compute_flops"] == 3e11
    assert found["identity"] == "ab" * 32 and set(found["edge"]) == {"sparsity_low", "sparsity_high"}


def test_the_only_stored_posterior_is_asked(stored, monkeypatch, capsys):
    monkeypatch.setenv("MOEBOOK_RUNS", str(stored.parents[1]))
    code, out, _ = command(monkeypatch, capsys, "optimum", "--compute", "3e11")
    assert code == 0 and "identity abab" in out and "90 % interval" in out


def test_english_is_asked_first_else_the_user_chooses(stored, make, byte_models, monkeypatch, capsys):
    monkeypatch.setenv("MOEBOOK_RUNS", str(stored.parents[1]))
    make([byte_models]).save(stored.parent / "second")
    code, _, err = command(monkeypatch, capsys, "optimum", "--compute", "3e11")
    assert code == 2 and "--posterior: missing: there are" in err and "mine" in err and "second" in err
    make([byte_models]).save(stored.parent / "english")
    code, out, _ = command(monkeypatch, capsys, "optimum", "--compute", "3e11")
    assert code == 0 and "english" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--compute", "-3"), "--compute: -3.0: must lie between"),
        (("--compute", "1e11", "--params", "0"), "--params: 0.0: must lie between"),
        (("--compute", "1e11", "--posterior", "nowhere"), "nowhere/posterior.nc: no such file"),
    ],
)
def test_bad_questions(options, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = command(monkeypatch, capsys, "optimum", *options)
    assert code == 2 and says in err and err.count("\n") == 1


def test_a_failed_posterior_is_refused_with_code_1(stored, monkeypatch, capsys):
    summary = json.loads((stored / "summary.json").read_text())
    summary["status"] = "failed"
    summary["gates"] = [
        {"name": "R-hat", "demand": "< 1.01", "value": 1.2, "worst": "beta", "passed": False},
    ]
    (stored / "summary.json").write_text(json.dumps(summary))
    code, out, err = command(monkeypatch, capsys, "optimum", "--compute", "3e11", "--posterior", stored)
    assert code == 1 and "R-hat 1.2" in err and out == ""
