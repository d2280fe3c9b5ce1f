"""Commands shown in chapters run as on a pipe, whatever the notebook's kernel sets."""

from __future__ import annotations

from moebook.book.contents import shell


def test_a_kernel_cannot_make_a_command_animate(monkeypatch, tmp_path):
    for name, value in {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TERM": "xterm-color"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "moebook.py").write_text(
        "from rich.console import Console\n"
        "c = Console()\n"
        "print(c.is_terminal)\n"
        "with c.status('compiling'):\n    pass\n"
    )
    said = shell.run("moebook fit", tmp_path)
    assert said == "False", "run from its folder, so the file there is the command"
