"""What the tests of the verbs share."""

import pytest

from moebook.cli import main


@pytest.fixture
def moebook(monkeypatch, capsys, tmp_path):
    """moebook(words) -> (exit code, standard output, standard error), in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr("sys.argv", ["moebook", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return command
