import torch

from sovits_serve.engine.random_stream import Domain, as_signed, normal
from sovits_serve.models.cuda.noise import LatentNoise


def test_noise_is_the_references(device: str) -> None:
    """Each row gets the numbers of its seed, segment and frames, and zeros behind its end."""
    rows = [(3, 0, 17), (as_signed(2**63 + 5), 2**20, 70), (-1, 7, 1)]
    draw = LatentNoise(10, 4, int(Domain.LATENT), torch.device(device))

    drawn = draw(rows, 72).cpu()

    assert drawn.shape == (3, 10, 72)
    for row, (seed, segment, frames) in enumerate(rows):
        expected = normal(seed, segment, 0, frames, 10)
        torch.testing.assert_close(drawn[row, :, :frames], expected, atol=2e-6, rtol=1e-5)
        assert not drawn[row, :, frames:].any()
