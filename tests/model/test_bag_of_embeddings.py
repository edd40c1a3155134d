import torch

from flywheel.model.bag_of_embeddings import BagOfEmbeddings


def test_the_reference_network_has_its_published_size() -> None:
    net = BagOfEmbeddings(1000, 1, embedding=16, hidden=32)
    assert sum(p.numel() for p in net.parameters()) == 1000 * 16 + 16 * 32 + 32 + 32 + 1


def test_it_averages_the_real_tokens_alone() -> None:
    net = BagOfEmbeddings(9, 3, embedding=4, hidden=0).eval()
    mean = net.embedding.weight[[2, 5, 5]].mean(0)
    torch.testing.assert_close(net(torch.tensor([[2, 5, 5, 0, 0]]))[0], net.head(mean))


def test_words_are_left_out_in_training_only() -> None:
    net, tokens = BagOfEmbeddings(50, 2, word_dropout=0.5), torch.randint(1, 50, (8, 20))
    assert not torch.equal(net(tokens), net(tokens))
    net.eval()
    assert torch.equal(net(tokens), net(tokens))


def test_padding_counts_where_it_is_asked_to() -> None:
    """As Keras' GlobalAveragePooling1D does without a mask; how far a batch was cut makes no difference."""
    net = BagOfEmbeddings(9, 3, embedding=4, hidden=0, padded_length=8).eval()
    mean = net.embedding.weight[[2, 5, 5, 0, 0, 0, 0, 0]].mean(0)
    for width in (3, 5, 8):
        tokens = torch.tensor([[2, 5, 5] + [0] * (width - 3)])
        torch.testing.assert_close(net(tokens)[0], net.head(mean))
    net(torch.tensor([[2, 0]])).sum().backward()
    assert net.embedding.weight.grad is not None
    assert net.embedding.weight.grad[0].abs().sum() > 0, "padding's embedding is learnt"
