"""Reports: typed blocks, charts as SVG, and the page that draws them."""
