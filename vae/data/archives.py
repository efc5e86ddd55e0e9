"""What MNIST and Fashion-MNIST consist of: files, their checksums, class names, and who publishes them."""

from dataclasses import dataclass

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@dataclass(frozen=True)
class Archive:
    """A published data set of four files, and where they come from."""

    title: str
    folder: str
    """Name of its folder, in the data directory and in Debian's."""
    torchvision_class: str
    debian_package: str | None
    class_names: tuple[str, ...]
    """Name of label i at place i."""
    checksums: dict[str, tuple[str, ...]]
    """File name -> the checksums that are right, as `algorithm:hex`, one for each way it is published."""


FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

ARCHIVES = {
    # md5: the files that torchvision downloads; sha256: Debian's, which are compressed anew
    "fmnist": Archive(
        title="Fashion-MNIST",
        folder="fashion-mnist",
        torchvision_class="FashionMNIST",
        debian_package="dataset-fashion-mnist",
        class_names=FASHION_CLASSES,
        checksums={
            TRAIN_IMAGES: (
                "sha256:b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
                "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            TRAIN_LABELS: (
                "sha256:0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
                "md5:25c81989df183df01b3e8a0aad5dffbe",
            ),
            TEST_IMAGES: (
                "sha256:cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
                "md5:bef4ecab320f06d8554ea6380940ec79",
            ),
            TEST_LABELS: (
                "sha256:8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
                "md5:bb300cfdad3c16e7a12a480ee83cd310",
            ),
        },
    ),
    "mnist": Archive(
        title="MNIST",
        folder="mnist",
        torchvision_class="MNIST",
        debian_package=None,
        class_names=tuple("0123456789"),
        checksums={
            TRAIN_IMAGES: ("md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",),
            TRAIN_LABELS: ("md5:d53e105ee54ea40749a09fcbcd1e9432",),
            TEST_IMAGES: ("md5:9fb629c4189551a2d022fa330f9573f3",),
            TEST_LABELS: ("md5:ec29112dd5afa0611ce80d1b7f02629c",),
        },
    ),
}
