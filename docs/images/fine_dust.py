"""Make docs/images/fine-dust.png: the published page of the recipe's service, beside what its monitor shows.

    .venv/bin/python docs/images/fine_dust.py [--folder build/recipes/fine-dust] [--chromium /usr/bin/chromium]

The recipe must have run: python recipes/fine-dust/run.py
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path


def main() -> None:
    """Photograph both pages."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/recipes/fine-dust"))
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("fine-dust.png"))
    parser.add_argument("--keep", type=Path, help="also write the single pictures, on desk and phone, to this folder")
    given = parser.parse_args()
    published = given.folder.resolve() / "service" / "published" / "fine-dust" / "index.html"
    monitor = given.folder.resolve() / "service" / "monitor" / "monitor.html"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    taken = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=flags)
        for name, page, query, width in (
            ("desk", published, "?lang=en", 1000),
            ("monitor", monitor, "", 1000),
            ("phone", published, "?lang=ko", 390),
            ("monitor-phone", monitor, "", 390),
        ):
            view = browser.new_page(viewport={"width": width, "height": 920}, color_scheme="light")
            view.goto(page.as_uri() + query)
            taken[name] = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
            if given.keep is not None:
                given.keep.mkdir(parents=True, exist_ok=True)
                taken[name].save(given.keep / f"{name}.png")
                view.screenshot(path=given.keep / f"{name}-whole.png", full_page=True)
            view.close()
        browser.close()
    left, right = taken["desk"], taken["monitor"]
    sheet = Image.new("RGB", (left.width + right.width + 24, left.height), "#9aa5b1")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + 24, 0))
    sheet.quantize(224, dither=Image.Dither.NONE).save(given.output, optimize=True)


if __name__ == "__main__":
    main()
