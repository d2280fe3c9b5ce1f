"""Every task against models whose scores are known: tables, copiers, and models that know nothing."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from moebook.architecture import Family
from moebook.model import Decoder
from moebook.scores import blimp, recall, sources, windows, words
from moebook.scores.likelihood import START, nats, next_byte
from moebook.scores.sizes import multiple

FAMILY = Family(layers=1)


@pytest.fixture(scope="module")
def untrained():
    return [Decoder(FAMILY.config(8, 0.75), seed=seed) for seed in range(3)]


def test_batches_change_nothing(untrained):
    """Sums over sequences of many lengths, in any company, are those of each alone."""
    sequences = [START + bytes([65 + n % 20] * n) for n in (1, 128, 7, 128, 50, 2) for _ in range(40)]
    first = [1 + number % max(1, len(s) - 1) for number, s in enumerate(sequences)]
    found, after = nats(untrained[0], sequences, first), next_byte(untrained[0], [s[:128] for s in sequences])
    for number in range(0, len(sequences), 17):
        tokens_1N = torch.tensor([list(sequences[number])])
        with torch.no_grad():
            log_p_NV = untrained[0](tokens_1N[:, :-1]).logits_BNV[0].log_softmax(-1)
            last_V = untrained[0](tokens_1N[:, :128]).logits_BNV[0, -1].log_softmax(-1)
        losses = functional.nll_loss(log_p_NV, tokens_1N[0, 1:], reduction="none")
        assert found[number] == pytest.approx(losses[first[number] - 1 :].sum().item(), abs=1e-3)
        assert after[number] == pytest.approx(last_V.numpy(), abs=1e-4)
    with pytest.raises(ValueError, match="130 bytes"):
        nats(untrained[0], [START + b"x" * 129])


def test_blimp_by_a_table_of_bytes(data, table):
    pairs = blimp.pool(sources.blimp_pairs(data))
    assert pairs.paradigms == 3 and len(pairs.pairs) == 120
    for logit, score in ((1.0, 1.0), (-1.0, 0.0)):
        found = blimp.blimp(table({"a": logit}), pairs)
        assert (found.score, found.standard_error, found.chance) == (score, 0.0, 0.5)
        assert len(found.items) == 3 * blimp.SMALLEST
        assert found.items == pytest.approx(np.full(96, logit), abs=1 / 16)  # one letter
        assert {name: part.items for name, part in found.parts.items()} == {"agreement": 64, "islands": 32}
    assert blimp.blimp(table({}), pairs).score == 0.0  # equally likely is not more likely


def test_blimp_counts_whole_sentences_not_means(table):
    rows = [("p", "u", str(n), "aab", "aabb" if n % 2 else "b") for n in range(40)]
    found = blimp.blimp(table({}), blimp.pool(rows))  # every byte costs ln 256: shorter is more likely
    order = [pair[3] for pair in blimp.pool(rows).pairs][: len(found.items)]
    assert (found.items > 0).tolist() == [bad == "aabb" for bad in order]


def test_pairs_that_do_not_fit_are_left_out():
    rows = [("p", "u", str(n), "x" * (120 + n), "y") for n in range(20)]
    assert len(blimp.pool(rows).pairs) == 9  # 120 to 128 bytes


def test_bits_a_byte_of_a_uniform_guess_are_eight_and_of_a_table_its_cross_entropy(data, table):
    text = windows.articles(sources.wikitext2(data))
    assert len(text.heldout_starts) == 120 and bytes(text.heldout_T[1:14]) == b" = Article 0 "
    found = windows.pool(text)
    uniform = windows.bits_a_byte(table({}), found)
    assert uniform.score == pytest.approx(8, abs=1e-3) and uniform.chance == 8
    assert uniform.standard_error == pytest.approx(0, abs=1e-3)
    content = bytes(text.heldout_T).replace(b"\0", b"")
    share = content.count(b" ") / len(content)
    by_hand = (math.log(255 + math.e**3) - 3 * share) / math.log(2)
    assert windows.bits_a_byte(table({" ": 3.0}), found).score == pytest.approx(by_hand, rel=1e-4)
    assert len(found.lengths_W) < windows.SMALLEST and found.lengths_W.sum() == len(content)


def test_the_target_of_a_passage_is_its_last_word_and_halves_are_as_said(data):
    books = sources.held_out_books(data)
    assert len(books) == 2
    found = words.pool(books)
    assert len(found.passages) > 100
    for number, (passage, mark, target, *others) in enumerate(found.passages):
        before = passage.lower().replace(".", " ").replace(",", " ").split()
        assert (target in before) == (number % 2 == 0)
        assert len(START + (passage + target + mark).encode()) <= 129
        assert f"{passage}{target}{mark}" in " ".join(" ".join(books).split())
        assert len({target, *others}) == words.CHOICES and not set(others) & set(before)
        assert {len(other) for other in others} == {len(target)}


def test_words_by_a_table_and_by_a_model_that_repeats(data, table, planted):
    found = words.pool(sources.held_out_books(data))
    weights = {letter: float(rank) for rank, letter in enumerate("zqjxkvbpygfwmucldrhsnioate")}

    def sum_of(word):
        return sum(weights[letter] for letter in word)

    part = found.passages[: 2 * words.SMALLEST]
    by_hand = [sum_of(item[2]) - max(map(sum_of, item[3:])) for item in part]
    scored = words.last_words(table(weights), found)
    assert scored.items == pytest.approx(np.array(by_hand), abs=0.08)
    assert scored.chance == 0.25 and set(scored.parts) == {"seen", "unseen"}

    def repeats(tokens_BN):  # after the last two bytes as they stood before, what came then
        logits_BNV = torch.zeros(*tokens_BN.shape, 256)
        for row, tokens in enumerate(tokens_BN.tolist()):
            after = {}
            for place in range(1, len(tokens)):
                for following in after.get((tokens[place - 1], tokens[place]), ()):
                    logits_BNV[row, place, following] = 9.0
                if place + 1 < len(tokens):
                    after.setdefault((tokens[place - 1], tokens[place]), set()).add(tokens[place + 1])
        return logits_BNV

    copied = words.last_words(planted(repeats), found)
    assert copied.parts["seen"].score > copied.parts["unseen"].score + 0.3


def test_recall_is_solved_by_copying_and_by_nothing_less(copier, table):
    solved = recall.recall(copier)
    assert solved.score == 1.0 and {part.score for part in solved.parts.values()} == {1.0}
    assert list(solved.parts) == ["0", "1", "4", "8"] and solved.chance == 1 / 3
    letters = {chr(97 + rank): 0.1 * rank for rank in range(26)}
    guess = recall.recall(table(letters))  # a favourite letter, whatever the list says
    assert abs(guess.score - guess.chance) < 3 * guess.standard_error


def test_what_recall_asks(copier):
    for item in range(50):
        context, values = recall.prompt(item, 8)
        assert len(context) < 128
        *lines, last = context[1:].decode().split("\n")
        for line in lines:
            *pairs, answer = line.split()
            assert len(pairs) == recall.PAIRS and answer in pairs
            assert len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs}) == recall.PAIRS
        *pairs, key = last.split()
        assert dict(pairs)[key] == chr(values[0])
        assert sorted(values.decode()) == sorted(pair[1] for pair in pairs)
        for shots in (0, 1, 4):  # the fewer shots are the last of the more
            assert context.endswith(recall.prompt(item, shots)[0][1:])
    asked = [recall.prompt(item, 0)[0][1:].decode().split() for item in range(600)]
    places = [[pair[0] for pair in pairs].index(key) for *pairs, key in asked]
    assert np.bincount(places).min() > 150


def test_models_that_know_nothing_score_at_chance(data, untrained):
    text = windows.pool(windows.articles(sources.wikitext2(data)))
    for model in untrained[:2]:
        found = recall.recall(model)
        for part in found.parts.values():
            assert abs(part.score - found.chance) < 4 * part.standard_error
        assert abs(windows.bits_a_byte(model, text).score - 8) < 0.5


def test_the_published_files_are_the_expected_ones_and_untrained_models_are_near_chance(shared, untrained):
    pairs = blimp.pool(sources.blimp_pairs(shared))
    assert (pairs.paradigms, len({pair[0] for pair in pairs.pairs})) == (67, 13)
    assert len(pairs.pairs) == 67 * 986  # the paradigm with most pairs that do not fit
    passages = words.pool(sources.held_out_books(shared))
    assert len(passages.passages) >= 4 * words.SMALLEST
    assert len(windows.articles(sources.wikitext2(shared)).heldout_starts) == 62
    for task, pool in ((blimp.blimp, pairs), (words.last_words, passages)):
        found = [task(model, pool) for model in untrained[:2]]  # one model errs alike on like items
        assert abs(np.mean([f.score for f in found]) - found[0].chance) < 0.06


def test_subsets_are_fixed_and_nested(data, monkeypatch):
    model = Decoder(FAMILY.config(8, 0), seed=1)
    monkeypatch.setattr(blimp, "SMALLEST", 8)
    monkeypatch.setattr(words, "SMALLEST", 16)
    monkeypatch.setattr(windows, "SMALLEST", 32)
    monkeypatch.setattr(recall, "SMALLEST", 64)

    def tasks():
        pairs, passages = blimp.pool(sources.blimp_pairs(data)), words.pool(sources.held_out_books(data))
        text = windows.pool(windows.articles(sources.wikitext2(data)))
        return (
            lambda m: blimp.blimp(model, pairs, m), lambda m: words.last_words(model, passages, m),
            lambda m: windows.bits_a_byte(model, text, m), lambda m: recall.recall(model, m),
        )  # fmt: skip

    for task, again in zip(tasks(), tasks(), strict=True):
        small, large = task(1), again(2)
        assert small.pool == large.pool and len(large.items) == 2 * len(small.items)
        assert large.items[: len(small.items)] == pytest.approx(small.items, abs=0.07)


def test_the_number_of_items_follows_the_flops_of_a_token():
    sizes = [multiple(Family().config(width, 0)) for width in (8, 32, 64, 96, 128, 512)]
    assert sizes == sorted(sizes) and sizes[1] == 1 and sizes[-1] >= 8
    assert {size & (size - 1) for size in sizes} == {0}
