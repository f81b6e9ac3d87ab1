import pytest

from experiments.text.passages import Passage, read


@pytest.fixture(name="file")
def _file(tmp_path):
    def write(content):
        path = tmp_path / "a.txt"
        path.write_bytes(content)
        return path

    return write


def test_each_line_is_a_passage_and_blank_lines_only_count(file):
    text = "\ufeffone\r\n\n  \ntwo\u2028halves \n\tthree\tparts".encode()
    assert read(file(text)) == [
        Passage(1, "", "one"),
        Passage(4, "", "two\u2028halves"),  # no line ends there
        Passage(5, "", "three\tparts"),
    ]


def test_labels_stand_before_the_first_tab(file):
    found = read(file(b"a\tfirst\tpassage\n\nb \t second\n"), labels=True)
    assert found == [Passage(1, "a", "first\tpassage"), Passage(3, "b", "second")]


@pytest.mark.parametrize("line", [b"no tab", b"only\t", b"\tno label"])
def test_a_line_without_a_label_is_named(file, line):
    with pytest.raises(ValueError, match=r"a label, a tab and a passage, .* in line 2"):
        read(file(b"a\tb\n" + line + b"\n"), labels=True)


def test_what_holds_no_passages_is_refused(file):
    with pytest.raises(ValueError, match="at least 1 passage, got 0"):
        read(file(b"\n \n"))
    with pytest.raises(ValueError, match="must be text in UTF-8"):
        read(file(b"caf\xe9\n"))
