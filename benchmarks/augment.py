"""What each augmentation costs per picture: whole batches in torch beside one picture at a time in OpenCV.

`batched` is what training runs (`sanmaru.training.augment`, from resident uint8 pictures to normalised float32); each
row shows one augmentation with probability 1, less the bare gather and normalisation, which stand in a row of their
own. `per sample` is what the usual pipelines do, written with OpenCV and NumPy on uint8 pictures, one call per picture,
one thread, without worker processes. Times are the median over rounds, in microseconds per picture.

    python benchmarks/augment.py [--sides 64 112] [--batch-size 64] [--rounds 30] [--threads 1]
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import platform
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np
import torch

from sanmaru.training.augment_names import AUGMENTATIONS, parameters
from sanmaru.training.batches import ImageBatches

RNG = np.random.default_rng(0)
LUMA = np.array([0.299, 0.587, 0.114])
FULL = [
    *("hflip", "rotate", "scale", "translate", "shear", "perspective", "crop"),
    *("brightness", "contrast", "saturation", "grey", "blur", "noise", "griddropout", "erasing", "mixup", "cutmix"),
]
"""The list with which the honest fraction is measured, all with their defaults."""


def warped(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    side = image.shape[0]
    if matrix.shape == (3, 3):
        return cv2.warpPerspective(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    return cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)


def rotate(image: np.ndarray) -> np.ndarray:
    middle = image.shape[0] / 2
    return warped(image, cv2.getRotationMatrix2D((middle, middle), RNG.uniform(-10, 10), 1))


def crop(image: np.ndarray) -> np.ndarray:
    side = image.shape[0]
    kept = round(side * (1 - RNG.uniform(0, 0.1)))
    x, y = RNG.integers(0, side - kept + 1, 2)
    return cv2.resize(image[y : y + kept, x : x + kept], (side, side))


def scale(image: np.ndarray) -> np.ndarray:
    middle = image.shape[0] / 2
    return warped(image, cv2.getRotationMatrix2D((middle, middle), 0, RNG.uniform(0.9, 1.1)))


def translate(image: np.ndarray) -> np.ndarray:
    x, y = RNG.uniform(-0.1, 0.1, 2) * image.shape[0]
    return warped(image, np.array([[1, 0, x], [0, 1, y]]))


def shear(image: np.ndarray) -> np.ndarray:
    x, y = np.tan(np.radians(RNG.uniform(-10, 10, 2)))
    return warped(image, np.array([[1, x, 0], [y, 1, 0]]))


def perspective(image: np.ndarray) -> np.ndarray:
    side = image.shape[0]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = (corners + RNG.uniform(-0.1, 0.1, (4, 2)) * side).astype(np.float32)
    return warped(image, cv2.getPerspectiveTransform(corners, moved))


def brightness(image: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(image, alpha=RNG.uniform(0.8, 1.2))


def contrast(image: np.ndarray) -> np.ndarray:
    factor = RNG.uniform(0.8, 1.2)
    mean = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()
    return cv2.convertScaleAbs(image, alpha=factor, beta=(1 - factor) * mean)


def saturation(image: np.ndarray) -> np.ndarray:
    factor = RNG.uniform(0.8, 1.2)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0)


def hue(image: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + RNG.integers(-5, 6)) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def blur(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), RNG.uniform(0.05, 1))


def noise(image: np.ndarray) -> np.ndarray:
    drawn = RNG.standard_normal(image.shape, np.float32) * RNG.uniform(0, 10)
    return np.clip(image + drawn, 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray) -> np.ndarray:
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(RNG.integers(40, 96))])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def griddropout(image: np.ndarray) -> np.ndarray:
    out, side = image.copy(), image.shape[0]
    cell, (x, y) = side // 4, RNG.integers(0, side // 4, 2)
    for top in range(-y, side, cell):
        for left in range(-x, side, cell):
            out[max(top, 0) : max(top + cell // 2, 0), max(left, 0) : max(left + cell // 2, 0)] = 120
    return out


def erasing(image: np.ndarray) -> np.ndarray:
    out, side = image.copy(), image.shape[0]
    area, aspect = RNG.uniform(0.02, 0.33), math.exp(RNG.uniform(-1.2, 1.2))
    height, width = (min(side, round(side * math.sqrt(area * r))) for r in (aspect, 1 / aspect))
    y, x = RNG.integers(0, side - height + 1), RNG.integers(0, side - width + 1)
    out[y : y + height, x : x + width] = 120
    return out


def mixup(image: np.ndarray) -> np.ndarray:
    share = RNG.beta(0.2, 0.2)
    return cv2.addWeighted(image, share, image[::-1], 1 - share, 0)


def cutmix(image: np.ndarray) -> np.ndarray:
    out, side = image.copy(), image.shape[0]
    reach = int(side * math.sqrt(1 - RNG.beta(1, 1)) / 2)
    x, y = RNG.integers(0, side, 2)
    box = slice(max(0, y - reach), y + reach), slice(max(0, x - reach), x + reach)
    out[box] = image[::-1][box]
    return out


PER_SAMPLE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hflip": lambda image: cv2.flip(image, 1),
    "vflip": lambda image: cv2.flip(image, 0),
    **{f.__name__: f for f in (rotate, crop, scale, translate, shear, perspective, brightness, contrast, saturation)},
    **{f.__name__: f for f in (hue, grey, blur, noise, jpeg, griddropout, erasing, mixup, cutmix)},
}


def microseconds(run: Callable[[], object], per: int, rounds: int) -> float:
    """Median over rounds, of the CPU's time for one thread: what else the machine does then counts less."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    taken = []
    for _ in range(rounds + 2):
        began = clock()
        run()
        taken.append(clock() - began)
    return statistics.median(taken[2:]) / per * 1e6


def batched(images: np.ndarray, entries: list[object], rounds: int) -> float:
    """One step of an epoch of 2,048 pictures with these augmentations, its share of the draws included."""
    n, epoch = len(images), 2048
    batches = ImageBatches(
        images,
        np.resize(np.arange(n), epoch),
        np.zeros(epoch, np.int64),
        mean=(120, 120, 120),
        std=(60, 60, 60),
        augmentations=entries,  # type: ignore[arg-type]
    )
    generator = torch.Generator().manual_seed(0)

    drawn = batches.shuffled(n, generator)
    parts = itertools.cycle(range(len(drawn.parts)))
    step = microseconds(lambda: batches.take(drawn, next(parts)), n, rounds)
    return step + microseconds(lambda: batches.shuffled(n, generator), epoch, max(3, rounds // 10))


def alone(images: np.ndarray, name: str, rounds: int) -> float:
    change = PER_SAMPLE[name]
    return microseconds(lambda: [change(image) for image in images], len(images), rounds)


def usual(images: np.ndarray, rounds: int) -> float:
    """The full list one picture at a time, each effect by its default probability, then normalised."""
    mixing = {"mixup", "cutmix"}
    chances = [(PER_SAMPLE[name], parameters(name, None)["p"] if name not in mixing else 0.5) for name in FULL]

    def one(image: np.ndarray) -> torch.Tensor:
        for change, p in chances:
            if RNG.random() < p:
                image = change(image)
        return (torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() - 120) / 60

    return microseconds(lambda: torch.stack([one(image) for image in images]), len(images), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 112])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    print(f"torch {torch.__version__}, {options.threads} thread(s), OpenCV {cv2.__version__}, NumPy {np.__version__},")
    print(f"{platform.processor() or platform.machine()}, batches of {options.batch_size}, median of {options.rounds}")
    for side in options.sides:
        images = np.random.default_rng(1).integers(0, 256, (options.batch_size, side, side, 3), dtype=np.uint8)
        images = np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in images])
        bare = batched(images, [], options.rounds)
        print(f"\n{side} px, µs per picture\n\n| augmentation | batched | per sample |\n| --- | --- | --- |")
        print(f"| gather and normalise | {bare:.0f} | |")
        for name in AUGMENTATIONS:
            cost = batched(images, [{name: {"p": 1.0}}], options.rounds) - bare
            print(f"| {name} | {max(cost, 0):.0f} | {alone(images, name, options.rounds):.0f} |", flush=True)
        whole = batched(images, list(FULL), options.rounds)
        print(f"| the full list, with gather | {whole:.0f} | {usual(images, options.rounds):.0f} |")


if __name__ == "__main__":
    main()
