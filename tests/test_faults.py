"""The faults of mutation testing: where they are found, and that they are drawn."""

import ast

import pytest

from tests.faults import KINDS, MUTATED, ROOT, Finder, drawn


def found(text):
    return [(m.kind, m.before, m.after) for m in Finder("x.py", text.encode()).all()]


def changed(text):
    return {
        m.applied(text.encode()).decode() for m in Finder("x.py", text.encode()).all()
    }


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("é = a < b", {"é = a <= b", "é = a > b"}),
        ("a <= b != c", {"a < b != c", "a >= b != c", "a <= b == c"}),
        ("(a) is  not (b)", {"(a) is (b)"}),
        ("a not in b", {"a in b"}),
        ('icmp("<")', set()),
        ('b.icmp_signed("<", x)', {'b.icmp_signed("<=", x)', 'b.icmp_signed(">", x)'}),
        ("I64(7)", {"I64(6)", "I64(8)"}),
        ("range(n)", {"range((n) - 1)", "range((n) + 1)"}),
        ("a -  b", {"a +  b"}),
        ("a += b", {"a -= b"}),
        ("-a", {"+a"}),
        ("builder.fadd(a, b)", {"builder.fsub(a, b)"}),
        ("seen.add(a)", set()),
        ("(a, i) < (b, j)", {"(a, i) <= (b, j)", "(a, i) > (b, j)", "a < b"}),
        ("np.lexsort((i, a))", {"np.lexsort((a,))"}),
        ("if a:\n    raise E(b < 1)", {"if False:\n    raise E(b < 1)"}),
        ("if a:\n    if b:\n        return", {"if a:\n    if False:\n        return"}),
        ("if a:\n    b()", set()),
    ],
)  # fmt: skip
def test_a_text_and_what_becomes_of_it(text, results):
    assert changed(text) == results


def test_tie_rules_lose_either_part():
    text = "a < b or (a == b and i < j)"
    ties = [after for kind, _, after in found(text) if kind == "tie rule"]
    assert sorted(ties) == ["(a < b)", "(a == b)"]
    text = "n > low and keys[low] == key and i < j"
    ties = [after for kind, _, after in found(text) if kind == "tie rule"]
    assert ties == ["(n > low) and (keys[low] == key)"]


@pytest.mark.parametrize(
    "text",
    [
        '"""Of 1 < 2."""',
        'message = f"{a + 1}"',
        "raise ValueError(1 + a)",
        'warnings.warn("a" + b, stacklevel=2)',
        'COUNTED = 256 if on("counting") else 0',
        "LINE = 64  # bytes that one prefetch brings",
        "for t in range(8):\n    simd.prefetch(rows, t + 1)",
        "def prefetch(a):\n    return a + 1",
        "@jit(level=3 + a)\ndef f(a: x[1 + b] = b) -> y[2 + b]:\n    pass",
        "builder.load(a, align=4)",
        "x.shape[1]",
        "True",
        '"a" + b',
    ],
)
def test_what_makes_no_difference_is_left_alone(text):
    assert found(text) == []


def test_all_that_is_found_can_be_read():
    for pattern in MUTATED:
        path = max(ROOT.glob(pattern), key=lambda path: path.stat().st_size)
        source = path.read_bytes()
        faults = Finder(path.name, source).all()
        assert len(faults) > 20
        for fault in faults:
            text = fault.applied(source)
            assert text != source
            ast.parse(text)


def test_a_seed_draws_the_same_of_every_kind():
    faults = drawn(0, 40)
    assert faults == drawn(0, 40) != drawn(1, 40)
    assert drawn(0, 10) == faults[:10]
    assert {fault.kind for fault in faults} == set(KINDS)
    assert len({(fault.file, fault.start) for fault in faults}) == 40
