"""The pictures of the benchmark: the sample photographs as JPEG files of the size that caption collections have."""

from pathlib import Path

from captioner.errors import DataError

LONGEST = 500
"""Longer side in pixels, as in Flickr8k and Flickr30k; COCO's have 640."""


def write_photographs(folder: Path, count: int) -> tuple[str, ...]:
    """Write `count` JPEG files, each cut a little differently, so that no cache can know one from another.

    Raises DataError where there are no sample photographs.
    """
    from PIL import Image

    from captioner.data.images import read_image
    from captioner.data.samples import sample_pictures

    samples = [read_image(path) for path in sample_pictures()]
    if not samples:
        raise DataError("The benchmark needs the sample photographs of the Gradio package; install gradio.")
    paths = []
    for number in range(count):
        sample = samples[number % len(samples)]
        cut = number // len(samples)  # pixels from the left, of at least 256
        share = LONGEST / max(sample.size)
        size = (round(sample.width * share), round(sample.height * share))
        picture = sample.resize(size, Image.Resampling.BICUBIC, box=(cut % 100, 0, *sample.size))
        paths.append(folder / f"{number:04}.jpg")
        picture.save(paths[-1], quality=90)
    return tuple(map(str, paths))
