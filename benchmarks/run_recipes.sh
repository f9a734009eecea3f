#!/usr/bin/env bash
# Runs every recipe whole and puts its figures into its README. About an hour on two quiet cores; minutes per recipe:
#   adult-income 4, housing-ca 5, apartment-price 5, masks 3, faces-age-gender 7, document-types 20, recyclables 7,
#   face-mask-18 6.
# Data: fetched, or read from SANMARU_DATA. Run: bash benchmarks/run_recipes.sh [recipe ...]
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
RECIPES=("$@")
if [ ${#RECIPES[@]} = 0 ]; then
    RECIPES=(adult-income housing-ca apartment-price masks face-mask-18 faces-age-gender recyclables document-types)
fi
for recipe in "${RECIPES[@]}"; do
    mkdir -p build/recipes
    echo "== $recipe, $(date +%H:%M:%S)"
    (time "$PYTHON" "recipes/$recipe/run.py" --write-readme) 2>&1 | tee "build/recipes/$recipe.log" | tail -n 40
done
