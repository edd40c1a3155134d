import torch

from flywheel.model.cnn import CNN


def test_any_size_from_8_pixels_and_any_channels() -> None:
    for channels, height, width in ((1, 28, 28), (3, 8, 8), (3, 33, 47)):
        assert CNN(channels, 5).eval()(torch.rand(2, channels, height, width)).shape == (2, 5)


def test_rows_do_not_depend_on_each_other_once_trained() -> None:
    net, x = CNN(1, 4).eval(), torch.rand(6, 1, 16, 16)
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]))
