import pytest
import torch

from flywheel.model.ngram_linear import NgramLinear
from flywheel.project.errors import ModelError


def test_features_are_tokens_and_hashed_neighbours() -> None:
    net = NgramLinear(100, 2, ngrams=3, buckets=1000)
    features = net.features(torch.tensor([[5, 6, 7, 0], [4, 5, 6, 7], [6, 5, 0, 0]]))
    assert features[0, :4].tolist() == [5, 6, 7, 0]
    real = features != 0
    assert real.sum(1).tolist() == [3 + 2 + 1, 4 + 3 + 2, 2 + 1]
    assert (features[:, 4:][real[:, 4:]] >= 100).all()
    assert features[0, 5] == features[1, 6], "a pair has one row wherever it stands"
    assert features[0, 10] == features[1, 11], "and so has a triple"
    assert features[0, 5] != features[2, 5], "the order counts"


def test_distinct_features_count_once_and_padding_not_at_all() -> None:
    net = NgramLinear(100, 2, buckets=1000, distinct=True)
    tokens = torch.tensor([[5, 6, 5, 6, 5, 6], [6, 5, 0, 0, 0, 0]])
    features = net.features(tokens)
    counted = [sorted(row[row != 0].tolist()) for row in features]
    assert counted[0][:2] == [5, 6]
    assert len(counted[0]) == 4, "two tokens, and the pairs (5, 6) and (6, 5)"
    assert len(counted[1]) == 3
    torch.nn.init.normal_(net.table.weight[1:])  # padding's row stays zero
    assert torch.allclose(net(tokens)[1:], net(tokens[1:, :2]))


def test_the_sum_is_divided_by_a_power_of_the_number_of_features() -> None:
    tokens = torch.tensor([[5, 5, 5, 5, 0]])
    for power, expected in ((0.0, 4.0), (0.5, 2.0), (1.0, 1.0)):
        net = NgramLinear(9, 1, ngrams=1, length_power=power)
        torch.nn.init.ones_(net.table.weight[1:])
        assert net(tokens).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="length_power"):
        NgramLinear(9, 3, length_power=2.0)


def test_hashes_are_spread_evenly() -> None:
    net = NgramLinear(1000, 2, buckets=64)
    first, second = torch.meshgrid(torch.arange(2, 130), torch.arange(2, 130), indexing="ij")
    pairs = net.features(torch.stack([first.flatten(), second.flatten()], dim=1))[:, 3] - 1000
    counts = torch.bincount(pairs, minlength=64)
    assert counts.min() > 0.5 * counts.float().mean()
    assert counts.max() < 1.5 * counts.float().mean()


def test_it_begins_knowing_nothing_and_a_narrow_one_must_not_begin_at_zero() -> None:
    assert NgramLinear(9, 3)(torch.tensor([[2, 3]])).tolist() == [[0.0, 0.0, 0.0]]
    with pytest.raises(ValueError, match="init_std"):
        NgramLinear(9, 3, width=4)
    with pytest.raises(ValueError, match="ngrams and buckets"):
        NgramLinear(9, 3, ngrams=0)


def test_pieces_of_words_are_features_with_a_sum_of_their_own() -> None:
    net = NgramLinear(9, 3, ngrams=1, character_ngrams=3, character_buckets=1000)
    assert net.pieces is not None
    text = torch.tensor([[*b"abcab", 0, 0]], dtype=torch.uint8)
    features = net.character_features(text)[0]
    pairs, triples = features[:7].tolist(), features[7:].tolist()
    assert pairs[0] == 0, "no pair ends at the first character"
    assert pairs[1] == pairs[4], "the pair (a, b) has one row wherever it stands"
    assert pairs[5:] == triples[5:] == [0, 0], "padding is no feature"
    assert all(0 < row <= 1000 for row in (*pairs[1:5], *triples[2:5]))
    torch.nn.init.ones_(net.pieces.weight[1:])
    none = torch.zeros_like(text)
    unknown = torch.tensor([[1]])  # out of the vocabulary: the token tells nothing, its characters do
    assert net(unknown, none).tolist() == [[0.0, 0.0, 0.0]]
    assert net(unknown, text).tolist()[0] == pytest.approx([7**0.5] * 3)
    assert torch.equal(net(unknown, text), net(unknown, text[:, :5])), "padding on the right changes nothing"


def test_pieces_need_characters() -> None:
    net = NgramLinear(9, 3, character_ngrams=3)
    with pytest.raises(ModelError, match="num_characters"):
        net(torch.tensor([[2]]))
    for number in (1, 9):
        with pytest.raises(ValueError, match="character_ngrams must be 0 or 2 to 8"):
            NgramLinear(9, 3, character_ngrams=number)
    assert NgramLinear(9, 3)(torch.tensor([[2]]), torch.tensor([[7]])).shape == (1, 3), "and are ignored where none are"
