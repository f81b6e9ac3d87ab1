"""Contrast against width, and the command that both lessons share."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.lessons import dimension, lesson, sets


@pytest.fixture(name="taught", scope="module")
def _taught(tmp_path_factory):
    """Return the directory of a small lesson, and what was printed."""
    out = tmp_path_factory.mktemp("lesson") / "dimension"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "SENTENCES", "not-there.hdf5")
        patch.setattr(dimension, "WIDTHS", (2, 8, 32, 128))
        patch.setattr(dimension, "MANIFOLDS", (4,))
        patch.setenv("COLUMNS", "120")
        arguments = ["lesson", "dimension", "-n", "500", "--out", str(out)]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def lines_of(out):
    tables, _ = lesson.read(out)
    return {(line.data, line.width): line for line in tables[dimension.CONTRAST]}


def test_noise_loses_contrast_with_width(taught):
    held = lines_of(taught[0])
    noise = [held[dimension.NOISE, width] for width in (2, 8, 32, 128)]
    contrasts = [line.contrast for line in noise]
    assert contrasts == sorted(contrasts, reverse=True)
    assert contrasts[0] > 10
    assert contrasts[-1] < 1.5
    assert noise[-1].spread < 1
    assert noise[0].lid == pytest.approx(2, abs=0.3)
    assert noise[-1].never > noise[0].never
    assert noise[-1].central > 0.8


def test_a_manifold_keeps_its_contrast_however_wide_the_space(taught):
    held = lines_of(taught[0])
    manifold = [held[dimension.MANIFOLD.format(4), width] for width in (8, 32, 128)]
    lids = [line.lid for line in manifold]
    assert max(lids) / min(lids) < 1.2
    assert manifold[-1].contrast / manifold[0].contrast == pytest.approx(1, abs=0.2)
    assert manifold[-1].contrast > 2 * held[dimension.NOISE, 128].contrast
    assert manifold[0].kept > 0.7  # the same points, turned
    assert (
        held[dimension.NOISE, 2].kept < 0.1
    )  # two of 128 columns tell next to nothing
    assert held[dimension.NOISE, 128].kept == 1


def test_photographs_are_narrower_than_they_look(taught):
    held = lines_of(taught[0])
    windows, noise = (held[x, 128] for x in (dimension.WINDOWS, dimension.NOISE))
    assert windows.lid < 0.5 * noise.lid
    assert windows.contrast > 2 * noise.contrast


def test_shares_of_distances_add_up(taught):
    tables, _ = lesson.read(taught[0])
    noise = [x for x in tables[dimension.DISTANCES] if x.data == dimension.NOISE]
    wide = [line for line in noise if line.width == 128]
    assert sum(line.share for line in wide) == pytest.approx(1, abs=1e-4)
    assert wide[0].low == 0
    [middle] = [line for line in wide if line.low < 1 < line.high]
    assert middle.share == max(line.share for line in wide)


def test_the_command_says_what_was_left_out_and_draws(taught):
    out, printed = taught
    assert "left out: sentences, as there is no not-there.hdf5" in printed
    stamp = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert stamp["status"] == "finished"
    assert stamp["config"] == {"name": "dimension", "n": 500, "seed": 0}
    assert stamp["left_out"] == ["sentences, as there is no not-there.hdf5"]
    assert {entry["name"] for entry in stamp["datasets"]} >= {dimension.NOISE}
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert drawn >= {"width.png", "explained.svg", "distances.png"}


def test_an_earlier_lesson_is_drawn_again_from_its_files(taught, tmp_path):
    out, _ = taught
    before = (out / "figures" / "width.svg").read_bytes()
    done = CliRunner().invoke(app, ["lesson", str(out)])
    assert done.exit_code == 0, done.output
    assert (out / "figures" / "width.svg").read_bytes() == before
    other = CliRunner().invoke(app, ["lesson", str(tmp_path)])
    assert other.exit_code == 2


def test_the_same_seed_gives_the_same_windows_the_wider_around_the_narrower():
    wide, narrow = sets.windows(50, 128, 3), sets.windows(50, 32, 3)
    np.testing.assert_array_equal(narrow, sets.windows(50, 32, 3))
    inside = wide.reshape(50, 8, 16)[:, :4, :8]
    np.testing.assert_array_equal(narrow, inside.reshape(50, 32))
    assert not np.array_equal(narrow, sets.windows(50, 32, 4))


def test_a_projection_keeps_distances():
    X = sets.topics(100, 1, 0).X
    projected = sets.projected(X, 2048, 0)
    ratios = np.linalg.norm(projected[1:] - projected[:-1], axis=1) / np.linalg.norm(
        X[1:] - X[:-1], axis=1
    )
    assert abs(ratios - 1).max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["algebra"], "a lesson must be one of metrics, dimension, reduce"),
        (["metrics", "-n", "20"], "n must be at least 500, got 20"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["lesson", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
