"""Tables on a terminal show what they are given."""

from moebook.cli.tables import print_table


def test_names_that_look_like_markup_are_shown_as_they_are(capsys):
    print_table(("score", "[red]effect[/]"), [["acc[bold]", ":warning: 1"]], left=1, caption="[i]n[/i] all")
    said = capsys.readouterr().out
    for text in ("[red]effect[/]", "acc[bold]", ":warning: 1", "[i]n[/i] all"):
        assert text in said
