"""Images of any size: resized as asked for, and decoded as a viewer shows them."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageFilter

from vae.data import as_images, dataset_from_arrays, load_dataset, save_arrays
from vae.data.dataset import MIN_IMAGES
from vae.data.folders import read_image
from vae.data.resize import resize_image
from vae.errors import UsageError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def stripes(width: int, height: int) -> Image.Image:
    """A red, a green and a blue third, side by side."""
    image = Image.new("RGB", (width, height), GREEN)
    image.paste(RED, (0, 0, width // 3, height))
    image.paste(BLUE, (width - width // 3, 0, width, height))
    return image


def photographs(n: int = MIN_IMAGES, seed: int = 0) -> list[Image.Image]:
    """Smooth colour images, each of another size."""
    rng = np.random.default_rng(seed)
    noise = [rng.integers(0, 256, (*rng.integers(40, 90, 2), 3), dtype=np.uint8) for _ in range(n)]
    return [Image.fromarray(pixels).filter(ImageFilter.BoxBlur(4)) for pixels in noise]


def write_folder(folder, images: list[Image.Image]) -> str:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        image.save(folder / f"{i:03}.png")
    return str(folder)


def encoded(image: Image.Image, format: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    return io.BytesIO(file.getvalue())


@pytest.mark.parametrize(("width", "height"), [(120, 32), (300, 90), (48, 8)])
def test_the_shorter_side_is_scaled_and_the_middle_cut_out(width, height):
    pixels = np.asarray(resize_image(stripes(width, height), 16))
    assert pixels.shape == (16, 16, 3)
    assert (pixels == GREEN).all()


def test_shrinking_averages_all_pixels():
    checkers = Image.fromarray((np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8))
    assert np.abs(np.asarray(resize_image(checkers, 8)).astype(int) - 127).max() <= 1


def test_an_image_of_that_size_is_left_alone():
    image = stripes(32, 32)
    assert np.array_equal(np.asarray(resize_image(image, 32)), np.asarray(image))


def test_photographs_of_mixed_sizes_are_one_data_set(tmp_path):
    images = photographs()
    dataset = load_dataset(write_folder(tmp_path / "mine", images), resize=16)
    assert dataset.resize == 16
    assert dataset.train.image_shape == (3, 16, 16)
    ours = torch.cat([dataset.train.images, dataset.test.images]).permute(0, 2, 3, 1).numpy()
    expected = [np.asarray(resize_image(image, 16)).tobytes() for image in images]
    assert sorted(image.tobytes() for image in ours) == sorted(expected)


def test_a_folder_an_npz_and_parquet_give_the_same_images(tmp_path):
    images = [image.resize((70, 50)) for image in photographs()]
    write_folder(tmp_path / "folder", images)
    np.savez(tmp_path / "array.npz", images=np.stack([np.asarray(image) for image in images]))
    column = [{"bytes": encoded(image).getvalue(), "path": None} for image in images]
    pq.write_table(pa.table({"image": column}), tmp_path / "table.parquet")
    fingerprints = {
        load_dataset(tmp_path / name, resize=12).fingerprint
        for name in ("folder", "array.npz", "table.parquet")
    }
    assert len(fingerprints) == 1


def test_a_photograph_is_shrunk_while_it_is_decoded_without_a_visible_difference():
    large = photographs(1)[0].resize((1600, 1200), Image.Resampling.BICUBIC)
    file = encoded(large, "JPEG", quality=95)
    quick, exact = (
        read_image(file, "it", 32),
        np.asarray(resize_image(Image.open(io.BytesIO(file.getvalue())), 32)),
    )
    assert np.abs(quick.astype(int) - exact).mean() < 1


def test_the_named_data_sets_are_resized_too():
    dataset = load_dataset("digits", resize=16)
    assert dataset.train.image_shape == dataset.test.image_shape == (1, 16, 16)
    assert dataset.fingerprint != load_dataset("digits").fingerprint


def test_arrays_and_tensors_are_resized_alike():
    pixels = np.stack([np.asarray(image.resize((40, 30))) for image in photographs()])
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    expected = as_images(pixels, resize=8)
    assert torch.equal(as_images(tensor, resize=8), expected)
    dataset = dataset_from_arrays(pixels, test_images=pixels)
    assert torch.equal(as_images(dataset, resize=8), expected)
    assert dataset_from_arrays(dataset, resize=8).resize == 8
    assert dataset_from_arrays(dataset_from_arrays(pixels, test_images=pixels, resize=8)).resize == 8


def test_arrays_are_saved_as_they_are_resized(tmp_path):
    pixels = np.stack([np.asarray(image.resize((40, 30))) for image in photographs()])
    save_arrays(tmp_path / "kept.npz", pixels, resize=8)
    again = load_dataset(tmp_path / "kept.npz", resize=8)
    assert again.fingerprint == dataset_from_arrays(pixels, resize=8).fingerprint


@pytest.mark.parametrize("resize", [7, 65, 0, -32, 32.5, True, "32"])
def test_a_size_that_no_model_takes_is_refused(resize):
    with pytest.raises(UsageError, match=f"resize must be a whole number from 8 to 64, got {resize!r}"):
        load_dataset("digits", resize=resize)


def test_images_of_other_sizes_are_refused_with_the_way_out(tmp_path):
    folder = write_folder(tmp_path / "large", photographs())
    with pytest.raises(UsageError, match="must be 8 to 64 pixels a side; search or train with --resize 32"):
        load_dataset(folder)
    mixed = write_folder(
        tmp_path / "mixed", [image.resize((20 + i, 30)) for i, image in enumerate(photographs())]
    )
    with pytest.raises(UsageError, match=r"001\.png is 30x21x3, but .* is 30x20x3; .*--resize 32"):
        load_dataset(mixed)
    np.savez(tmp_path / "large.npz", images=np.zeros((MIN_IMAGES, 100, 100)))
    with pytest.raises(UsageError, match=r"images in .*large\.npz: image size 100x100x1 .*--resize 32"):
        load_dataset(tmp_path / "large.npz")


# ---- as a viewer shows them


def test_a_photograph_is_upright():
    upright = Image.new("RGB", (20, 30), BLUE)
    upright.paste(RED, (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: a viewer turns the picture clockwise
    as_taken = upright.transpose(Image.Transpose.ROTATE_90)
    for resize in (None, 10):
        pixels = read_image(encoded(as_taken, exif=exif), "it", resize)
        plain = read_image(encoded(upright), "it", resize)
        assert np.array_equal(pixels, plain)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # a data set's reader silences it
def test_an_orientation_that_cannot_be_read_turns_nothing():
    image = photographs(1)[0].resize((20, 30))
    broken = encoded(image, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert np.array_equal(read_image(broken, "it"), np.asarray(image))


@pytest.mark.parametrize(("mode", "hidden", "n_channels"), [("RGBA", (9, 99, 199, 0), 3), ("LA", (9, 0), 1)])
def test_what_is_transparent_is_white(mode, hidden, n_channels):
    image = Image.new(mode, (10, 10), hidden)
    image.paste((70,) * (len(mode) - 1) + (255,), (0, 0, 5, 10))
    pixels = read_image(encoded(image), "it")
    assert pixels.shape == (10, 10, n_channels)
    assert (pixels[:, :5] == 70).all()
    assert (pixels[:, 5:] == 255).all()


def test_grey_among_colour_becomes_colour(tmp_path):
    images = photographs()
    write_folder(tmp_path / "train", [*images[:-1], images[-1].convert("L")])
    write_folder(tmp_path / "test", [images[0].convert("L")])
    dataset = load_dataset(tmp_path, resize=8)
    assert dataset.train.image_shape == dataset.test.image_shape == (3, 8, 8)
    for image in (dataset.train.images[-1], dataset.test.images[0]):
        assert torch.equal(image[0], image[1])
        assert torch.equal(image[0], image[2])
